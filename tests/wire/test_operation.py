import json
from typing import Annotated, Literal

import msgspec
import pytest
from pydantic import Field, ValidationError

from aiodis.errors import DecodeError, ParameterError
from aiodis.wire.message import Empty, Message, Reply, name_of, spelled
from aiodis.wire.operation import Operation, Parts, Resource


class Thing(Message):
    thing_name: Annotated[str, name_of(20)]
    note: Annotated[str | None, spelled("odd-note", "odd_note")] = None
    flag: bool | None = None
    limit: Annotated[int, Field(ge=1, le=9)] | None = None
    kind: Literal["GOOD"] | None = None


class Free(Message):
    """Without a rule for names, to see what quoting does."""

    thing_name: str
    text: str | None = None


class Answer(Reply):
    number: int = 0


class Raw(msgspec.Struct):
    number: int

    @classmethod
    def decode(cls, body, /):
        return msgspec.json.decode(body, type=cls)

    def encode(self):
        return msgspec.json.encode(self)


class OddThings(Resource):
    get = Operation("GET /v2/{project_id}/things/{thing_name}", Thing, Answer)
    delete = Operation("DELETE /v2/{project_id}/things", Thing, Empty, status=204)
    post = Operation("POST /v2/{project_id}/things", Thing, Raw, status=201)
    put = Operation("PUT /v3/{project_id}/things/{thing_name}", Thing, Answer)
    named_twice = Operation(
        "PUT /v2/{project_id}/things/{thing_name}", Thing, Answer, also_in_body=("thing_name",)
    )
    delete_with_body = Operation(
        "DELETE /v2/{project_id}/things/{thing_name}", Thing, Empty, has_body=True
    )
    free = Operation("GET /v2/{project_id}/things/{thing_name}", Free, Answer)

    def not_a_row(self):
        return None


class Recorder:
    """A client that keeps what it is asked to call."""

    def __init__(self):
        self.calls = []

    async def call(self, operation, request, /):
        self.calls.append((operation, request))
        return operation.decode(b'{"number":5}', status=200)

    async def sleep(self, seconds, /):
        raise AssertionError(seconds)

    def within(self, seconds, /):
        raise AssertionError(seconds)


def encode(operation, project_id="p", **fields):
    return operation.encode(operation.build(**fields), project_id)


class TestPlacement:
    def test_names_in_the_route_go_into_the_path_and_the_rest_of_a_get_into_the_query(self):
        assert encode(OddThings.get, thing_name="t", note="n", limit=3) == Parts(
            "GET", "/v2/p/things/t", "odd-note=n&limit=3", None
        )

    def test_a_delete_has_a_query_too(self):
        assert encode(OddThings.delete, thing_name="t") == Parts(
            "DELETE", "/v2/p/things", "thing_name=t", None
        )

    def test_a_delete_that_says_so_has_a_body_instead(self):
        parts = encode(OddThings.delete_with_body, thing_name="t", note="n")
        assert parts == Parts("DELETE", "/v2/p/things/t", "", b'{"odd-note":"n"}')
        request = OddThings.delete_with_body.read({"thing_name": "t"}, {}, {"odd-note": "n"})
        assert request == Thing(thing_name="t", note="n")

    def test_the_rest_of_a_post_goes_into_a_json_body(self):
        assert encode(OddThings.post, thing_name="t", note="n", flag=True) == Parts(
            "POST", "/v2/p/things", "", b'{"thing_name":"t","odd-note":"n","flag":true}'
        )

    def test_a_put_names_what_is_in_the_path_only_there(self):
        assert encode(OddThings.put, thing_name="t", limit=1) == Parts(
            "PUT", "/v3/p/things/t", "", b'{"limit":1}'
        )

    def test_a_put_names_it_in_the_body_as_well_where_the_row_says_so(self):
        assert encode(OddThings.named_twice, thing_name="t", limit=1) == Parts(
            "PUT", "/v2/p/things/t", "", b'{"thing_name":"t","limit":1}'
        )

    def test_what_is_none_is_left_out(self):
        assert encode(OddThings.get, thing_name="t", note=None).query == ""
        assert encode(OddThings.put, thing_name="t").body == b"{}"

    @pytest.mark.parametrize(("flag", "text"), [(True, "true"), (False, "false")])
    def test_a_boolean_in_a_query_is_spelled_in_small_letters(self, flag, text):
        assert encode(OddThings.get, thing_name="t", flag=flag).query == f"flag={text}"

    @pytest.mark.parametrize(
        ("name", "quoted"),
        [
            ("a/b", "a%2Fb"),
            ("a b", "a%20b"),
            ("a?b#c", "a%3Fb%23c"),
            ("a%2Fb", "a%252Fb"),
            ("用户", "%E7%94%A8%E6%88%B7"),
            ("a~b-c_d.e", "a~b-c_d.e"),
            ("a+b&c=d", "a%2Bb%26c%3Dd"),
            ("{x}", "%7Bx%7D"),
        ],
    )
    def test_odd_characters_are_quoted_in_path_and_query(self, name, quoted):
        parts = encode(OddThings.free, "p/q", thing_name=name, text=name)
        assert parts.path == f"/v2/p%2Fq/things/{quoted}"
        assert parts.query == f"text={quoted}"


class TestBuild:
    def refusal(self, **fields):
        with pytest.raises(ParameterError) as caught:
            OddThings.get.build(**fields)
        return caught.value

    @pytest.mark.parametrize(
        ("fields", "text"),
        [
            ({}, "odd_things.get: thing_name='(missing)': Field required"),
            (
                {"thing_name": "t", "nmae": 1},
                "odd_things.get: nmae=1: Extra inputs are not permitted",
            ),
            (
                {"thing_name": "t", "limit": 10},
                "odd_things.get: limit=10: Input should be less than or equal to 9",
            ),
            (
                {"thing_name": "t", "limit": "many"},
                (
                    "odd_things.get: limit='many': Input should be a valid integer,"
                    " unable to parse string as an integer"
                ),
            ),
            (
                {"thing_name": "t", "kind": "BAD"},
                "odd_things.get: kind='BAD': Input should be 'GOOD'",
            ),
            (
                {"thing_name": "a/b"},
                "odd_things.get: thing_name='a/b': String should match pattern '^[A-Za-z0-9_-]+$'",
            ),
        ],
    )
    def test_a_bad_parameter_is_named_with_its_rule(self, fields, text):
        error = self.refusal(**fields)
        assert str(error) == text
        assert error.operation == "odd_things.get"
        assert error.__cause__ is None

    def test_a_parameter_goes_by_its_own_name_only(self):
        assert self.refusal(thing_name="t", odd_note="n").field == "odd_note"

    def test_parameters_are_keywords(self):
        with pytest.raises(TypeError, match=r"odd_things\.get takes keyword arguments only"):
            OddThings.get.build("t")


class TestRead:
    def test_a_server_reads_what_a_client_wrote(self):
        request = OddThings.get.build(thing_name="t", note="n", flag=True, limit=3)
        query = {"odd-note": "n", "flag": "true", "limit": "3"}
        assert OddThings.get.read({"project_id": "p", "thing_name": "t"}, query, None) == request

    @pytest.mark.parametrize("spelling", ["odd-note", "odd_note", "note"])
    def test_every_spelling_is_read(self, spelling):
        request = OddThings.get.read({"thing_name": "t"}, {spelling: "n"}, None)
        assert request.note == "n"

    def test_unknown_and_empty_parameters_are_passed_over(self):
        query = {"odd-note": "", "limit": "", "offset": "5"}
        request = OddThings.get.read({"thing_name": "t"}, query, None)
        assert request == OddThings.get.build(thing_name="t")

    def test_unknown_fields_of_a_body_are_passed_over(self):
        request = OddThings.put.read({"thing_name": "t"}, {}, {"limit": 3, "more": []})
        assert request == OddThings.put.build(thing_name="t", limit=3)

    def test_the_path_beats_the_body(self):
        request = OddThings.named_twice.read({"thing_name": "t"}, {}, {"thing_name": "other"})
        assert request.thing_name == "t"

    def test_a_bad_value_is_pydantics_own_error(self):
        with pytest.raises(ValidationError) as caught:
            OddThings.get.read({"thing_name": "t"}, {"limit": "10"}, None)
        assert caught.value.errors()[0]["loc"] == ("limit",)


class TestDecode:
    @pytest.mark.parametrize(
        ("operation", "body"),
        [
            (OddThings.get, b"<html>"),
            (OddThings.get, b"[]"),
            (OddThings.get, b'{"number":"x"}'),
            (OddThings.get, b"\xff"),
            (OddThings.post, b""),
            (OddThings.post, b"{}"),
            (OddThings.post, b'{"number":'),
        ],
    )
    def test_what_cannot_be_read_keeps_status_and_first_bytes(self, operation, body):
        with pytest.raises(DecodeError) as caught:
            operation.decode(body, status=202)
        error = caught.value
        assert (error.status, error.head) == (202, body)
        assert str(error) == (
            f"{operation.name}: the answer (HTTP 202, {len(body)} bytes) could not be read"
        )
        assert error.__cause__ is not None

    def test_a_long_answer_is_not_kept_whole(self):
        with pytest.raises(DecodeError) as caught:
            OddThings.get.decode(b"s3cret" * 1000, status=200)
        assert len(caught.value.head) == 200
        assert "s3cret" not in str(caught.value)

    def test_a_good_answer_is_read(self):
        assert OddThings.get.decode(b'{"number":5}', status=200) == Answer(number=5)
        assert OddThings.post.decode(b'{"number":5}', status=201) == Raw(5)
        assert OddThings.delete.decode(b"", status=204) == Empty()


class TestDescriptor:
    def test_a_row_knows_its_chapter_and_name(self):
        assert OddThings.named_twice.name == "odd_things.named_twice"
        assert repr(OddThings.post) == "<odd_things.post: POST /v2/{project_id}/things>"
        assert OddThings.get.path_names == ("project_id", "thing_name")
        assert OddThings.delete.status == 204

    def test_a_chapter_gives_its_rows_in_order(self):
        assert [row.name.split(".")[1] for row in OddThings.operations()] == [
            "get",
            "delete",
            "post",
            "put",
            "named_twice",
            "delete_with_body",
            "free",
        ]

    async def test_on_a_resource_a_row_is_a_method_that_calls(self):
        client = Recorder()
        answer = await OddThings(client).get(thing_name="t", limit=3)
        assert answer == Answer(number=5)
        assert client.calls == [(OddThings.get, Thing(thing_name="t", limit=3))]

    async def test_a_bad_parameter_is_found_before_the_call(self):
        client = Recorder()
        with pytest.raises(ParameterError):
            await OddThings(client).get(thing_name="t", limit=0)
        assert client.calls == []

    def test_the_method_bears_the_rows_name(self):
        method = OddThings(Recorder()).get
        assert (method.__name__, method.__qualname__) == ("get", "odd_things.get")


def test_fields_that_tell_operations_of_one_route_apart_are_sent_unasked():
    class Task(Message):
        name: str

    start = Operation("POST /v2/{project_id}/action", Task, Empty, always={"action": "start"})
    start.name = "tasks.start"

    assert json.loads(start.encode(start.build(name="t"), "p").body) == {
        "name": "t",
        "action": "start",
    }
    assert start.is_meant({"name": "t", "action": "start"})
    assert not start.is_meant({"name": "t", "action": "stop"})


def test_a_request_may_have_another_shape_on_the_wire_than_its_parameters():
    class Boxed(Message):
        name: str

        def body(self, fields):
            return json.dumps({"box": fields}).encode()

        @classmethod
        def shape(cls, given):
            return {**given, **given["box"]}

    row = Operation("POST /v2/{project_id}/boxes", Boxed, Empty)
    row.name = "boxes.create"
    body = json.loads(row.encode(row.build(name="n"), "p").body)
    assert body == {"box": {"name": "n"}}
    assert row.read({}, {}, body) == row.build(name="n")
