from typing import Annotated

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from aiodis.wire.message import Empty, LenientInt, Message, Reply, name_of, spelled


class Ask(Message):
    name: Annotated[str, name_of(5)]
    since: Annotated[int | None, spelled("since-when", "since_when", "sinceWhen")] = None


class Told(Reply):
    name: str = ""
    when: LenientInt = 7
    count: LenientInt | None = None
    names: list[str] = []
    more: Annotated[list["Told"], spelled("more", "moore")] = []


class TestMessage:
    def test_an_unknown_field_is_refused(self):
        with pytest.raises(ValidationError, match="nmae"):
            Ask(name="a", nmae="b")

    def test_a_message_is_frozen(self):
        with pytest.raises(ValidationError):
            Ask(name="a").name = "b"

    @pytest.mark.parametrize("spelling", ["since", "since-when", "since_when", "sinceWhen"])
    def test_every_spelling_is_read_and_the_first_is_written(self, spelling):
        message = Ask.model_validate({"name": "a", spelling: 5})
        assert message.since == 5
        assert message.model_dump(by_alias=True) == {"name": "a", "since-when": 5}

    def test_the_fields_left_for_the_body_are_json(self):
        assert orjson.loads(Ask(name="a").body({"name": "ключ", "n": 1})) == {
            "name": "ключ",
            "n": 1,
        }

    @pytest.mark.parametrize("name", ["a", "Z_9-x", "abcde"])
    def test_a_name_of_the_services_letters_is_taken(self, name):
        assert Ask(name=name).name == name

    @pytest.mark.parametrize("name", ["", "abcdef", "a b", "a/b", "a.b", "é", "a\n", "..", None, 5])
    def test_any_other_name_is_refused(self, name):
        with pytest.raises(ValidationError):
            Ask(name=name)


class TestReply:
    def test_an_empty_body_is_a_reply_with_nothing_set(self):
        assert Told.decode(b"") == Told.decode(b"{}") == Told()

    def test_unknown_fields_are_passed_over(self):
        assert Told.decode(b'{"name":"a","new":{"deep":[1]}}') == Told(name="a")

    def test_a_null_is_a_field_left_out(self):
        found = Told.decode(b'{"name":null,"when":null,"count":null,"names":null,"more":null}')
        assert found == Told()

    @pytest.mark.parametrize("key", ["more", "moore"])
    def test_every_spelling_is_read(self, key):
        body = orjson.dumps({key: [{"name": "b"}]})
        assert Told.decode(body).more == [Told(name="b")]

    @pytest.mark.parametrize(
        ("sent", "when"),
        [
            ("1599050091026", 1599050091026),
            ("1599050091026.", 1599050091026),  # the reference's own example
            (" 5 ", 5),
            (5, 5),
            ("-1", -1),
            ("", 7),
            (".", 7),
        ],
    )
    def test_a_number_is_read_also_where_it_is_a_text(self, sent, when):
        assert Told.decode(orjson.dumps({"when": sent})).when == when

    @pytest.mark.parametrize("sent", ["x", "1.5", 1.5, [], {}])
    def test_what_is_no_number_is_refused(self, sent):
        with pytest.raises(ValidationError):
            Told.decode(orjson.dumps({"when": sent}))

    def test_a_reply_leaves_out_what_is_none(self):
        assert Told(name="a", when=5).encode() == b'{"name":"a","when":5,"names":[],"more":[]}'

    @given(st.builds(Told, name=st.text(), when=st.integers(-(2**63), 2**63 - 1)))
    def test_a_reply_is_read_back_as_written(self, told):
        assert Told.decode(told.encode()) == told

    def test_a_reply_is_frozen(self):
        with pytest.raises(ValidationError):
            Told().name = "b"


def test_an_empty_reply_has_no_byte_and_takes_any_object():
    assert Empty().encode() == b""
    assert Empty.decode(b"") == Empty.decode(b'{"surprise":1}') == Empty()


def test_names_are_constrained_wherever_they_stand():
    class Names(BaseModel):
        all: list[Annotated[str, name_of(2)]]

    with pytest.raises(ValidationError, match="pattern"):
        Names(all=["a", "."])
