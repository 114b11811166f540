"""Where dump tasks deliver to, against the reference's five operations that add one."""

import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from aiodis.api import TransferTasks
from aiodis.api.destinations import (
    DESTINATIONS,
    CloudTableDestination,
    CloudTableSchema,
    Column,
    DliDestination,
    DwsOptions,
    ObsDestination,
    OpenTsdbMetric,
    OpenTsdbSchema,
    OpenTsdbTag,
    OpenTsdbTimestamp,
    OpenTsdbValue,
    ProcessingSchema,
    RowKey,
)
from aiodis.errors import ParameterError

REFERENCE = json.loads((Path(__file__).parent / "operations.json").read_text("utf-8"))
[CREATE] = [f for f in REFERENCE["operations"] if f["row"] == "transfer_tasks.create"]
DOCUMENTED = {found["word"]: found for found in CREATE["destinations"]}

COMMON = {"task_name": "t", "agency_name": "a", "deliver_time_interval": 30}
ROWS = {"row_key": [{"value": "id", "type": "Bigint"}]} | {
    "columns": [{"column_family_name": "f", "column_name": "c_1", "value": "v", "type": "Decimal"}]
}
POINTS = {
    "metric": [{"type": "Constant", "value": "a.b"}],
    "timestamp": {"type": "String", "value": "at", "format": "yyyy/MM/dd HH:mm:ss"},
    "value": {"type": "Double", "value": "v"},
    "tags": [{"name": "n", "type": "String", "value": "host"}],
}

# What each destination cannot do without.
LEAST = {
    "OBS": COMMON | {"obs_bucket_path": "b"},
    "DWS": COMMON
    | {"obs_bucket_path": "b", "dws_delimiter": ";", "user_password": "hush"}
    | {f"dws_{part}": part for part in ("cluster_name", "cluster_id", "database_name")}
    | {"dws_schema": "s", "dws_table_name": "t", "user_name": "u"}
    | {"kms_user_key_name": "k", "kms_user_key_id": "i"},
    "MRS": COMMON
    | {"mrs_cluster_name": "c", "mrs_cluster_id": "i", "mrs_hdfs_path": "/p"}
    | {"obs_bucket_path": "b"},
    "DLI": COMMON | {"dli_database_name": "d", "dli_table_name": "t", "obs_bucket_path": "b"},
    "CLOUDTABLE": COMMON
    | {"cloudtable_cluster_name": "c", "cloudtable_cluster_id": "i", "opentsdb_schema": [POINTS]},
}

# What each may have beyond that.
MORE = {
    "OBS": {
        "consumer_strategy": "TRIM_HORIZON",
        "file_prefix": "a/b_1",
        "partition_format": "yyyy/MM",
        "destination_file_type": "text",
        "record_delimiter": "|",
        "processing_schema": {
            "timestamp_name": "at",
            "timestamp_type": "String",
            "timestamp_format": "dd-MM-yyyy HH:mm:ss",
        },
    },
    "DWS": {
        "consumer_strategy": "LATEST",
        "file_prefix": "p",
        "retry_duration": 0,
        "dws_table_columns": "c1,c2",
        "options": {
            "fill_missing_fields": "on",
            "ignore_extra_data": "true",
            "compatible_illegal_chars": "off",
            "reject_limit": "unlimited",
            "error_table_name": "e",
        },
    },
    "MRS": {
        "consumer_strategy": "LATEST",
        "file_prefix": "p",
        "hdfs_prefix_folder": "h/i",
        "retry_duration": 7200,
        "destination_file_type": "text",
    },
    "DLI": {"consumer_strategy": "LATEST", "file_prefix": "p", "retry_duration": 300},
    "CLOUDTABLE": {
        "consumer_strategy": "LATEST",
        "cloudtable_table_name": "t",
        "cloudtable_row_key_delimiter": "~",
        "obs_backup_bucket_path": "b",
        "backup_file_prefix": "p",
        "retry_duration": 1800,
    },
}

# Where the table and the text of the reference differ, or a client of the vendor knows more.
NOT_NEEDED = {("OpenTsdbTimestamp", "format")}  # by the text, only for a String
ADDED = {"MrsDestination": {"destination_file_type"}}  # in the reference's example
WORDS_OF_OUR_OWN = {"destination_file_type": {"text", "parquet", "carbon"}}

each_word = pytest.mark.parametrize("word", DESTINATIONS)


def make(word, **changes):
    fields = {k: v for k, v in {**LEAST[word], **changes}.items() if v is not None}
    return DESTINATIONS[word](**fields)


def refused(make_one, **wrong):
    """See that one wrong field is refused by its name; give the rule."""
    [name] = wrong
    with pytest.raises(ParameterError) as caught:
        make_one(**wrong)
    assert caught.value.field.split(".")[0] == name, caught.value
    assert name in str(caught.value)
    assert caught.value.rule
    return caught.value.rule


def models_and_facts():
    """Every model of a destination with what the reference says of it, however deep."""
    for word, found in DOCUMENTED.items():
        yield from pairs(DESTINATIONS[word], found["fields"])


def pairs(model, facts):
    yield model, facts
    for fact in facts:
        if "fields" in fact:
            annotation = model.model_fields[fact["name"]].annotation
            [inner] = [k for k in leaves(annotation) if issubclass(k, BaseModel)]
            yield from pairs(inner, fact["fields"])


def leaves(annotation):
    args = get_args(annotation)
    if not args:
        return [annotation] if isinstance(annotation, type) else []
    return [leaf for arg in args for leaf in leaves(arg)]


ALL = [pytest.param(model, facts, id=model.__name__) for model, facts in models_and_facts()]


def sent(destination):
    row = TransferTasks.create
    parts = row.encode(row.build(stream_name="s", destination=destination), "p")
    return json.loads(parts.body)


def read(body):
    return TransferTasks.create.read({"stream_name": "s"}, {}, body).destination


class TestTheReference:
    def test_the_destinations_are_those_of_the_reference(self):
        assert {kind.word: kind.descriptor for kind in DESTINATIONS.values()} == {
            word: found["descriptor"] for word, found in DOCUMENTED.items()
        }

    @pytest.mark.parametrize(("model", "facts"), ALL)
    def test_the_fields_are_those_of_the_reference_and_as_many_needed(self, model, facts):
        name = model.__name__
        assert set(model.model_fields) - ADDED.get(name, set()) == {f["name"] for f in facts}
        needed = {
            f["name"] for f in facts if f["mandatory"] and (name, f["name"]) not in NOT_NEEDED
        }
        assert {k for k, v in model.model_fields.items() if v.is_required()} == needed

    @pytest.mark.parametrize(("model", "facts"), ALL)
    def test_the_words_of_a_field_are_those_of_the_reference(self, model, facts):
        for fact in facts:
            if words := fact.get("enum"):
                documented = {part for word in words for part in word.split("/")}
                if fact["name"].endswith("format"):  # slashes of their own
                    documented = set(words)
                ours = set(literals(model.model_fields[fact["name"]].annotation))
                assert ours == WORDS_OF_OUR_OWN.get(fact["name"], documented)

    @pytest.mark.parametrize(
        ("word", "fact"),
        [
            pytest.param(word, fact, id=f"{word}-{fact['name']}")
            for word, found in DOCUMENTED.items()
            for fact in found["fields"]
            if "maximum" in fact
        ],
    )
    def test_a_value_at_its_limit_is_taken_and_one_past_it_refused(self, word, fact):
        of = (lambda n: "a" * n) if fact["type"] == "text" else int
        make(word, **{fact["name"]: of(fact["maximum"])})
        refused(lambda **f: make(word, **f), **{fact["name"]: of(fact["maximum"] + 1)})
        if "minimum" in fact:
            make(word, **{fact["name"]: of(fact["minimum"])})
            refused(lambda **f: make(word, **f), **{fact["name"]: of(fact["minimum"] - 1)})

    @each_word
    @pytest.mark.parametrize("more", [{}, MORE], ids=["least", "most"])
    def test_a_server_reads_the_destination_that_was_sent(self, word, more):
        destination = make(word, **more.get(word, {}))
        body = sent(destination)
        assert body["destination_type"] == word
        assert set(body) == {"destination_type", DOCUMENTED[word]["descriptor"]}
        assert read(body) == destination

    def test_the_samples_above_use_every_field(self):
        for word, kind in DESTINATIONS.items():
            of_hbase = {"cloudtable_schema"} if word == "CLOUDTABLE" else set()
            assert set(kind.model_fields) - of_hbase == {*LEAST[word], *MORE[word]}


def literals(annotation):
    args = get_args(annotation)
    if args and all(isinstance(arg, str) for arg in args):
        return list(args)
    return [found for arg in args for found in literals(arg)]


class TestRules:
    @each_word
    def test_a_task_name_has_1_to_64_letters_digits_and_hyphens(self, word):
        for good in ("a", "A-1_b", "x" * 64):
            make(word, task_name=good)
        for bad in ("", "x" * 65, "a b", "a/b", "é", "a\n"):
            refused(lambda **f: make(word, **f), task_name=bad)

    @each_word
    def test_an_agency_is_named(self, word):
        refused(lambda **f: make(word, **f), agency_name="")

    @each_word
    def test_an_interval_is_a_whole_number_from_30_to_900(self, word):
        for bad in (29, 901, 30.5, "x", -1):
            refused(lambda **f: make(word, **f), deliver_time_interval=bad)

    @each_word
    def test_an_unknown_field_is_refused(self, word):
        refused(lambda **f: make(word, **f), bogus=1)

    @pytest.mark.parametrize(
        ("word", "name"),
        [(w, "file_prefix") for w in ("OBS", "DWS", "MRS", "DLI")]
        + [("CLOUDTABLE", "backup_file_prefix")],
    )
    def test_a_prefix_has_50_characters_at_most_and_no_slash_first(self, word, name):
        for good in ("", "a", "a/b_2/", "x" * 50):
            make(word, **{name: good})
        for bad in ("/a", "a-b", "../a", "a.b", "x" * 51, "a b"):
            refused(lambda **f: make(word, **f), **{name: bad})

    @pytest.mark.parametrize("word", ["DWS", "MRS", "DLI", "CLOUDTABLE"])
    def test_a_retry_lasts_0_to_7200_seconds_and_is_a_text_on_the_wire(self, word):
        for good in (0, 7200):
            body = sent(make(word, retry_duration=good))
            assert body[DOCUMENTED[word]["descriptor"]]["retry_duration"] == str(good)
        for bad in (-1, 7201, "x", 1.5):
            refused(lambda **f: make(word, **f), retry_duration=bad)

    @pytest.mark.parametrize(
        ("word", "name", "good"),
        [
            ("OBS", "record_delimiter", ",;|\n"),
            ("DWS", "dws_delimiter", ",;|"),
            ("CLOUDTABLE", "cloudtable_row_key_delimiter", ",.|\\-_~"),
        ],
    )
    def test_a_delimiter_is_one_of_a_few(self, word, name, good):
        for sign in good:
            make(word, **{name: sign})
        for bad in ("", "\t", "ab", ":", *({"\n", ".", "~"} - set(good))):
            refused(lambda **f: make(word, **f), **{name: bad})

    def test_a_folder_of_hdfs_has_50_characters_at_most(self):
        make("MRS", hdfs_prefix_folder="x" * 50)
        refused(lambda **f: make("MRS", **f), hdfs_prefix_folder="x" * 51)

    @pytest.mark.parametrize("limit", ["0", "12", "unlimited"])
    def test_rejects_are_counted_or_unlimited(self, limit):
        assert DwsOptions(reject_limit=limit).reject_limit == limit
        for bad in ("-1", "some", "", "1.5"):
            refused(DwsOptions, reject_limit=bad)

    @pytest.mark.parametrize("kind", [ProcessingSchema, OpenTsdbTimestamp])
    def test_a_time_as_text_needs_its_format(self, kind):
        name, typed, form = (
            ("timestamp_name", "timestamp_type", "timestamp_format")
            if kind is ProcessingSchema
            else ("value", "type", "format")
        )
        kind(**{name: "at", typed: "Timestamp"})
        kind(**{name: "at", typed: "String", form: "MM/dd/yyyy HH:mm:ss"})
        with pytest.raises(ParameterError) as caught:
            kind(**{name: "at", typed: "String"})
        assert (caught.value.field, caught.value.rule) == (form, f"needed when {typed} is String")
        with pytest.raises(ParameterError):
            kind(**{name: "at", typed: "String", form: "yyyy"})
        with pytest.raises(ParameterError):
            kind(**{name: "at", typed: "Date"})

    def test_cloudtable_has_one_schema_of_two(self):
        schema = CloudTableSchema(**ROWS)
        hbase = {"cloudtable_schema": schema, "cloudtable_table_name": "t"}
        make("CLOUDTABLE", opentsdb_schema=None, **hbase)
        for wrong in ({"opentsdb_schema": None}, hbase, {"opentsdb_schema": []}):
            with pytest.raises(ParameterError) as caught:
                make("CLOUDTABLE", **wrong)
            assert caught.value.field == "opentsdb_schema"
        with pytest.raises(ParameterError) as caught:
            make("CLOUDTABLE", opentsdb_schema=None, cloudtable_schema=schema)
        assert caught.value.field == "cloudtable_schema"
        assert caught.value.rule == "needs a cloudtable_table_name"

    def test_hbase_has_1_to_64_row_keys_and_1_to_4096_columns(self):
        key, column = RowKey(**ROWS["row_key"][0]), Column(**ROWS["columns"][0])
        CloudTableSchema(row_key=[key] * 64, columns=[column] * 4096)
        for keys, columns in ((0, 1), (65, 1), (1, 0), (1, 4097)):
            with pytest.raises(ParameterError):
                CloudTableSchema(row_key=[key] * keys, columns=[column] * columns)

    @pytest.mark.parametrize(
        ("kind", "fields", "name"),
        [
            (Column, ROWS["columns"][0], "column_name"),
            (OpenTsdbTimestamp, POINTS["timestamp"], "value"),
            (OpenTsdbValue, POINTS["value"], "value"),
            (OpenTsdbTag, POINTS["tags"][0], "name"),
            (OpenTsdbTag, POINTS["tags"][0], "value"),
        ],
    )
    def test_an_attribute_has_1_to_32_letters_digits_and_underscores(self, kind, fields, name):
        kind(**fields | {name: "a_1" + "x" * 29})
        for bad in ("", "a.b", "a-b", "x" * 33):
            refused(lambda **f: kind(**fields | f), **{name: bad})

    def test_a_metric_has_1_to_32_letters_digits_and_dots(self):
        OpenTsdbMetric(type="String", value="a.1" + "x" * 29)
        for bad in ("", "a_b", "x" * 33):
            refused(lambda **f: OpenTsdbMetric(type="Constant", **f), value=bad)

    def test_points_without_a_part_are_refused(self):
        for part in POINTS:
            with pytest.raises(ParameterError) as caught:
                OpenTsdbSchema(**{k: v for k, v in POINTS.items() if k != part})
            assert caught.value.field == part

    def test_a_wrong_value_deep_inside_is_named_with_its_place(self):
        wrong = {**POINTS, "tags": [{"name": "a b", "type": "String", "value": "v"}]}
        with pytest.raises(ParameterError) as caught:
            make("CLOUDTABLE", opentsdb_schema=[wrong])
        assert caught.value.field == "opentsdb_schema.0.tags.0.name"
        assert caught.value.value == "a b"
        assert str(caught.value).startswith("CloudTableDestination: opentsdb_schema.0.tags.0.name=")

    def test_a_password_is_never_shown(self):
        assert "hush" not in repr(make("DWS"))
        with pytest.raises(ParameterError) as caught:
            make("DWS", user_password=["hush"])
        assert "hush" not in str(caught.value)

    @pytest.mark.parametrize("bad", [5, "OBS", None, {}, {"task_name": "t"}])
    def test_what_is_no_destination_is_refused(self, bad):
        for row in (TransferTasks.create, TransferTasks.update):
            with pytest.raises(ParameterError) as caught:
                row.build(stream_name="s", destination=bad)
            assert caught.value.field.startswith("destination")

    @each_word
    def test_plain_values_are_read_as_the_destination_they_are_most_like(self, word):
        # The command line has nothing else.
        row = TransferTasks.create
        built = row.build(stream_name="s", destination={**LEAST[word], **MORE[word]})
        assert built.destination == make(word, **MORE[word])
        with pytest.raises(ParameterError) as caught:
            row.build(stream_name="s", destination=LEAST[word] | {"deliver_time_interval": 5})
        assert caught.value.field == f"destination.{word}.deliver_time_interval"

    @pytest.mark.parametrize("ids", [[], [""], "id", [5], None])
    def test_a_batch_has_at_least_one_id(self, ids):
        for row in (TransferTasks.start, TransferTasks.pause):
            with pytest.raises(ParameterError) as caught:
                row.build(stream_name="s", task_ids=ids)
            assert caught.value.field.startswith("task")


class TestWhatAServerReads:
    def test_the_word_of_the_references_examples_is_cloudtable_too(self):
        body = sent(make("CLOUDTABLE")) | {"destination_type": "CLOUDBASE"}
        assert isinstance(read(body), CloudTableDestination)

    def test_empty_fields_are_fields_left_out(self):
        # The vendor's clients send all fields of their forms.
        fields = LEAST["OBS"] | {
            "partition_format": "",
            "file_prefix": "",
            "processing_schema": None,
        }
        body = {"destination_type": "OBS", "obs_destination_descriptor": fields}
        assert read(body) == ObsDestination(**LEAST["OBS"])

    def test_a_number_or_a_text_is_a_duration_and_unknown_fields_are_passed_over(self):
        for seconds in (1800, "1800"):
            fields = LEAST["DLI"] | {"retry_duration": seconds, "new": {"deep": 1}}
            found = read({"destination_type": "DLI", "dli_destination_descriptor": fields})
            assert found == DliDestination(**LEAST["DLI"], retry_duration=1800)

    @pytest.mark.parametrize("word", [None, "NOWHERE", "obs", "", 5, ["OBS"]])
    def test_an_unknown_type_is_told_with_those_there_are(self, word):
        with pytest.raises(ValidationError, match="one of OBS, DWS, MRS, DLI, CLOUDTABLE"):
            read({"destination_type": word, "obs_destination_descriptor": LEAST["OBS"]})

    def test_a_type_without_its_descriptor_is_told(self):
        with pytest.raises(ValidationError, match="destination_type OBS needs this object"):
            read({"destination_type": "OBS", "dws_destination_descriptor": LEAST["DWS"]})

    @given(
        st.fixed_dictionaries(
            {"destination_type": st.sampled_from([*DESTINATIONS, "CLOUDBASE"]) | st.text()},
            optional={
                kind.descriptor: st.dictionaries(
                    st.sampled_from(sorted(kind.model_fields)),
                    st.recursive(
                        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                        lambda inner: (
                            st.lists(inner, max_size=2)
                            | st.dictionaries(st.text(max_size=5), inner, max_size=2)
                        ),
                        max_leaves=4,
                    ),
                )
                for kind in DESTINATIONS.values()
            },
        )
    )
    def test_whatever_comes_is_a_destination_or_a_refusal(self, body):
        try:
            destination = read(body)
        except ValidationError:
            return
        assert read(sent(destination)) == destination

    @given(
        st.builds(
            ObsDestination,
            task_name=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
            agency_name=st.text(min_size=1, max_size=64),
            deliver_time_interval=st.integers(30, 900),
            obs_bucket_path=st.text(min_size=1),
            file_prefix=st.none()
            | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_/]{0,49}", fullmatch=True),
        )
    )
    def test_any_destination_arrives_as_it_was(self, destination):
        assert read(sent(destination)) == destination


class TestReplies:
    DESCRIBED = {
        "stream_name": "s",
        "task_name": "t",
        "task_id": "As805BudhcH1lDs6gbn",
        "destination_type": "OBS",
        "state": "RUNNING",
        "create_time": 1606554932552,
        "obs_destination_description": {"agency_name": "a", "retry_duration": 0},
    }

    def describe(self, **changes):
        body = json.dumps({**self.DESCRIBED, **changes}).encode()
        return TransferTasks.describe.decode(body, status=200)

    @pytest.mark.parametrize("key", ["stream_id", "streamId"])
    def test_a_streams_id(self, key):
        assert self.describe(**{key: "id"}).stream_id == "id"

    @pytest.mark.parametrize("key", ["partitionId", "partition_id"])
    @pytest.mark.parametrize("state", ["state", "transfer_state"])
    def test_a_partition_as_in_the_table_and_as_in_the_example(self, key, state):
        [found] = self.describe(
            partitions=[
                {key: "shardId-0000000000", state: "RUNNING", "last_transfer_offset": 5}
                | {"last_transfer_timestamp": "7", "discard": 1, "status": "ACTIVE"}
            ]
        ).partitions
        assert (found.partition_id, found.state, found.status) == (
            "shardId-0000000000",
            "RUNNING",
            "ACTIVE",
        )
        assert (found.last_transfer_offset, found.last_transfer_timestamp) == (5, 7)
        assert found.discard == 1

    @pytest.mark.parametrize("kind", ["dws", "cloudtable"])
    @pytest.mark.parametrize("word", ["description", "descripton"])
    def test_a_description_with_a_letter_too_few(self, kind, word):
        found = self.describe(**{f"{kind}_destination_{word}": {"agency_name": "b"}})
        assert getattr(found, f"{kind}_destination_description").agency_name == "b"

    @each_word
    def test_a_description_of_each_destination(self, word):
        described = {**LEAST[word], **MORE[word], "retry_duration": "5", "new": 1}
        key = f"{word.lower()}_destination_description"
        found = getattr(self.describe(**{key: described}), key)
        assert found.retry_duration == 5
        for name, value in LEAST[word].items():
            if name != "user_password":
                assert getattr(found, name) == value

    @pytest.mark.parametrize("key", ["tasks", "details"])
    def test_a_list_of_tasks(self, key):
        body = json.dumps({key: [{"task_name": "t", "task_id": "i", "exception_strategy": "x"}]})
        [found] = TransferTasks.list.decode(body.encode(), status=200).tasks
        assert (found.task_name, found.task_id, found.exception_strategy) == ("t", "i", "x")
        assert TransferTasks.list.decode(body.encode(), status=200).quota is None
