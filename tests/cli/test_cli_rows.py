"""Each row of the table is a command whose options are its request's fields."""

import inspect

import pytest
from commands import commands_of

from aiodis.api import OPERATIONS
from aiodis.cli.app import app
from aiodis.cli.parameters import option_name
from aiodis.cli.rows import command_name

COMMANDS = commands_of(app)
ROWS = [pytest.param(row, id=row.name) for row in OPERATIONS]


def command_of(row):
    return COMMANDS[tuple(command_name(part) for part in row.name.split("."))]


def options_of(command):
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("row", ROWS)
def test_each_row_is_a_command_with_an_option_for_each_field(row):
    command = command_of(row)
    fields = {option_name(name) for name in row.request.model_fields}
    assert fields <= options_of(command)
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{row.name}: {parameter.name} has no help"
    assert command.help
    assert command.epilog.startswith("Example: aiodis ")


@pytest.mark.parametrize("row", ROWS)
def test_an_option_that_is_no_field_belongs_to_every_command_or_to_the_resource(row):
    every = {"--endpoint", "--region", "--project-id", "--profile", "--ca-file", "--local"}
    every |= {"--timeout", "--retries", "--json", "--debug", "--help"}
    extras = {"--all", "--wait", "--exist-ok", "--missing-ok"}
    if "records" in row.request.model_fields:
        extras |= {"--data", "--partition-key", "--explicit-hash-key", "--partition-id"}
    fields = {option_name(name) for name in row.request.model_fields}
    options = {option for option in options_of(command_of(row)) if option.startswith("--")}
    assert options - fields - every <= extras


@pytest.mark.parametrize("row", ROWS)
def test_the_example_of_a_row_names_all_that_it_needs(row):
    example = command_of(row).epilog.split()
    for name, info in row.request.model_fields.items():
        if info.is_required() and name != "records":
            is_argument = any(p.name == f"{name}_argument" for p in command_of(row).params)
            assert is_argument or option_name(name) in example


@pytest.mark.parametrize("row", ROWS)
def test_a_row_without_what_it_needs_is_wrong_usage(row, aiodis):
    needed = [name for name, info in row.request.model_fields.items() if info.is_required()]
    if not needed:
        pytest.skip("it needs nothing")
    ended = aiodis(*(command_name(part) for part in row.name.split(".")))
    assert ended.code == 2
    assert "--" in ended.err
    assert "try: aiodis" in ended.err
    assert len(ended.err.splitlines()) == 2


def test_a_stream_lives_from_create_to_delete(aiodis):
    created = aiodis.ok("streams", "create", "life", "--partition-count", 2, "--wait", "--json")
    assert created.json["stream_name"] == "life"
    assert created.json["status"] == "RUNNING"
    assert len(created.json["partitions"]) == 2
    assert "life" in aiodis.ok("streams", "list", "--json").json["stream_names"]
    assert aiodis.ok("streams", "describe", "--stream-name", "life").text.count("shardId-") == 2
    assert aiodis.ok("streams", "delete", "life").text == "done\n"
    assert aiodis("streams", "describe", "life").code == 4


def test_exist_ok_and_missing_ok_forgive_just_that(aiodis):
    create = ("streams", "create", "twice", "--partition-count", 1)
    aiodis.ok(*create)
    again = aiodis(*create)
    assert (again.code, "DIS.4307" in again.err) == (1, True)
    assert len(again.err.splitlines()) == 1
    aiodis.ok(*create, "--exist-ok")
    delete = ("streams", "delete", "twice")
    aiodis.ok(*delete)
    assert aiodis(*delete).code == 4
    aiodis.ok(*delete, "--missing-ok")


def test_all_asks_for_every_page(aiodis):
    for number in range(12):
        aiodis.ok("streams", "create", f"page-{number:02}", "--partition-count", 1)
    page = aiodis.ok("streams", "list", "--limit", 5, "--json").json
    assert page["has_more_streams"]
    all_of_them = aiodis.ok("streams", "list", "--all", "--json").json
    assert {f"page-{number:02}" for number in range(12)} <= {s["stream_name"] for s in all_of_them}
    shown = aiodis.ok("streams", "list", "--all").text.splitlines()
    assert shown[0].startswith("stream_name")
    assert len(shown) == len(all_of_them) + 1
    refused = aiodis("streams", "list", "--all", "--limit", 5)
    assert (refused.code, "--limit" in refused.err) == (2, True)


def test_tags_are_pairs_or_json_or_a_file_of_either(aiodis, tmp_path):
    file = tmp_path / "tags.json"
    file.write_text('[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]')
    aiodis.ok(
        *("streams", "create", "tagged", "--partition-count", 1),
        *("--tags", "env=prod", "--tags", '{"key": "team", "value": "x"}', "--tags", f"@{file}"),
    )
    tags = aiodis.ok("streams", "describe", "tagged", "--json").json["tags"]
    found = {tag["key"]: tag["value"] for tag in tags}
    assert found == {"env": "prod", "team": "x", "a": "1", "b": "2"}
    assert "env=prod" in aiodis.ok("streams", "describe", "tagged").text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--partition-count", "0"), "--partition-count"),
        (("--partition-count", "many"), "--partition-count"),
        (("--partition-count", "1", "--stream-type", "HUGE"), "--stream-type"),
        (("--partition-count", "1", "--csv-properties", "{"), "--csv-properties"),
        (("--partition-count", "1", "--csv-properties", "@/no/such/file"), "/no/such/file"),
        (("--partition-count", "1", "--tags", "=x"), "--tags"),
        (("--partition-count", "1", "--stream-name", "other"), "nothing is left"),
    ],
)
def test_a_wrong_value_names_its_option_and_is_not_sent(arguments, said, aiodis):
    ended = aiodis("streams", "create", "wrong", *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert len(ended.err.splitlines()) == 2
    assert aiodis("streams", "describe", "wrong").code == 4


def test_records_are_put_and_got_with_the_plain_calls(aiodis, tmp_path):
    aiodis.ok("streams", "create", "plain", "--partition-count", 1)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\x00\xff\n")
    put = aiodis.ok(
        *("records", "put", "plain", "--data", "text", "--data", f"@{binary}"),
        *("--partition-key", "k", "--json"),
        *("--records", '{"data": "own", "partition_key": "other"}'),
        *("--records", '{"data_base64": "AAE="}'),
    )
    assert put.json["failed_record_count"] == 0
    assert len(put.json["records"]) == 4
    cursor = aiodis.ok(
        *("records", "get-cursor", "plain", "--partition-id", 0),
        *("--cursor-type", "TRIM_HORIZON", "--json"),
    ).json["partition_cursor"]
    got = aiodis.ok("records", "get", "--partition-cursor", cursor, "--json").json["records"]
    assert [record["data"] for record in got] == ["dGV4dA==", "AP8K", "b3du", "AAE="]
    assert [record.get("partition_key") for record in got] == ["k", "k", "other", None]
    shown = aiodis.ok("records", "get", "--partition-cursor", cursor).text
    assert "text" in shown
    assert "AP8K" in shown


@pytest.mark.parametrize("records", ["[1]", "{", '{"data": 1}', '{"date": "x"}'])
def test_records_in_a_wrong_form_are_wrong_usage(records, aiodis):
    ended = aiodis("records", "put", "plain", "--records", records)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 2


def test_a_partly_refused_put_shows_the_reply_and_fails(aiodis):
    aiodis.ok("streams", "create", "part", "--partition-count", 1)
    ended = aiodis("records", "put", "part", "--data", "x", "--partition-id", "7", "--json")
    assert ended.code == 1
    assert ended.json["failed_record_count"] == 1


def test_no_text_of_the_service_commands_the_terminal():
    from aiodis.cli.output import printable

    assert printable("a\x1b[2Jb\x07\x9bc") == "a\\x1b[2Jb\\x07\\x9bc"


def test_resources_offer_what_the_extras_call():
    from aiodis.api import Apps, Streams

    assert inspect.isasyncgenfunction(Streams.list_all)
    assert inspect.isasyncgenfunction(Apps.list_all)
