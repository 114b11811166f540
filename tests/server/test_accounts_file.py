"""The file that says who there is: what it may hold, and that a bad one is one clear line."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodis.credentials import AccessKey, IAMPassword
from aiodis.errors import ConfigError
from aiodis.server import LocalDIS
from aiodis.server.accounts import credentials_of, read_accounts

TOML = """
[[accounts]]
name = "shop"
project_id = "shop-project"
users = [
  { name = "ann", password = "secret", actions = ["dis:records:write", "dis:streams:*"] },
]

[[accounts]]
name = "mill"
project_id = "mill-project"

[[accounts.users]]
name = "bob"
keys = [{ access_key = "AK1", secret_key = "SK1" }, { access_key = "AK2", secret_key = "SK2" }]
"""


def account(**changes):
    return {"name": "shop", "project_id": "p", "users": [user()], **changes}


def user(**changes):
    return {"name": "ann", "password": "secret", **changes}


def key(access_key="AK"):
    return {"access_key": access_key, "secret_key": "SK"}


def written(tmp_path, content, name="accounts.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_toml_and_json_say_the_same(tmp_path):
    toml = read_accounts(written(tmp_path, TOML, "accounts.toml"))
    mill = {"name": "bob", "keys": [key("AK1") | {"secret_key": "SK1"}]}
    mill["keys"].append(key("AK2") | {"secret_key": "SK2"})
    shop = user(actions=["dis:records:write", "dis:streams:*"])
    accounts = [
        account(project_id="shop-project", users=[shop]),
        account(name="mill", project_id="mill-project", users=[mill]),
    ]
    assert read_accounts(written(tmp_path, {"accounts": accounts})).all == toml.all
    assert toml.first.account.name == "shop"
    assert toml.of_key("AK2").user.name == "bob"


def test_the_file_in_the_docs_is_one(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "how-to" / "run-the-embedded-dis.md"
    blocks = re.findall(r"```toml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    [shown] = [block for block in blocks if "[[accounts]]" in block]
    shop, mill = read_accounts(written(tmp_path, shown, "accounts.toml")).all
    assert [user.name for user in (*shop.users, *mill.users)] == ["ann", "writer", "bob"]


def test_a_user_may_what_the_actions_and_patterns_say(tmp_path):
    ann = read_accounts(written(tmp_path, TOML, "accounts.toml")).first.user
    assert ann.may("dis:records:write")
    assert ann.may("dis:streams:create")
    assert not ann.may("dis:records:read")


def test_a_user_without_actions_may_everything_and_with_none_nothing(tmp_path):
    users = [user(), user(name="nobody", actions=[])]
    accounts = read_accounts(written(tmp_path, {"accounts": [account(users=users)]}))
    anyone, nobody = accounts.all[0].users
    assert anyone.may("dis:streams:create")
    assert not nobody.may("dis:streams:create")


def test_ids_are_the_same_at_each_reading_and_no_two_are(tmp_path):
    path = written(tmp_path, TOML, "accounts.toml")
    first, second = read_accounts(path), read_accounts(path)
    ids = [item.id for found in first.all for item in (found, *found.users)]
    assert ids == [item.id for found in second.all for item in (found, *found.users)]
    assert len(set(ids)) == 4


def test_credentials_are_the_first_key_or_else_the_password(tmp_path):
    accounts = read_accounts(written(tmp_path, TOML, "accounts.toml"))
    assert credentials_of(accounts.first) == IAMPassword("ann", "secret", "shop")
    assert credentials_of(accounts.of_key("AK2")) == AccessKey("AK1", "SK1")


def test_no_secret_shows(tmp_path):
    accounts = read_accounts(written(tmp_path, TOML, "accounts.toml"))
    shown = repr(accounts) + repr(accounts.all) + repr(accounts.first)
    assert "secret" not in shown
    assert "SK1" not in shown


BAD = {
    "no JSON": ("{", "truncated"),
    "not an object": ([], "array"),
    "no accounts": ({}, "accounts"),
    "empty": ({"accounts": []}, "no accounts"),
    "unknown field": ({"accounts": [account(projekt="x")]}, "projekt"),
    "no users": ({"accounts": [account(users=[])]}, "no users"),
    "bad account name": ({"accounts": [account(name="a.b")]}, "a.b"),
    "bad project": ({"accounts": [account(project_id="../up")]}, "../up"),
    "bad user name": ({"accounts": [account(users=[user(name="*")])]}, "'*'"),
    "no way in": ({"accounts": [account(users=[user(password=None)])]}, "neither"),
    "unknown action": ({"accounts": [account(users=[user(actions=["dis:stream:*"])])]}, "stream:*"),
    "two accounts": ({"accounts": [account(), account(project_id="q")]}, "'shop' is there twice"),
    "one project for two": ({"accounts": [account(), account(name="b")]}, "'p' is there twice"),
    "two users": ({"accounts": [account(users=[user(), user()])]}, "'shop.ann' is there twice"),
    "one key for two": (
        {"accounts": [account(users=[user(keys=[key()]), user(name="b", keys=[key()])])]},
        "'AK' is there twice",
    ),
    "empty key": ({"accounts": [account(users=[user(keys=[key(" ")])])]}, "access_key is empty"),
    "number": ({"accounts": [account(users=[user(password=5)])]}, "password"),
}


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD)
def test_a_bad_file_is_one_line_that_names_the_file_and_the_fault(tmp_path, content, said):
    path = written(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        read_accounts(path)
    text = str(caught.value)
    assert str(path) in text
    assert said in text
    assert "\n" not in text
    assert "secret" not in text.replace("secret_key", "")


@pytest.mark.parametrize("content", ["accounts = 5", "[[accounts]]\nname=", "\x00"])
def test_bad_toml_is_one_line_too(tmp_path, content):
    with pytest.raises(ConfigError) as caught:
        read_accounts(written(tmp_path, content, "a.toml"))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_bytes_that_are_no_text_are_said_so(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_accounts(tmp_path / "missing.json")
    for name in ("a.json", "a.toml"):
        (tmp_path / name).write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigError, match=name):
            read_accounts(tmp_path / name)


def test_deep_nesting_is_refused(tmp_path):
    for name in ("a.json", "a.toml"):
        with pytest.raises(ConfigError):
            read_accounts(written(tmp_path, '{"accounts":' + "[" * 100_000, name))


NAMES = st.sampled_from(["name", "project_id", "users", "password", "keys", "actions", "x"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.just(user()) | st.just(account()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=10,
)


@given(content=st.dictionaries(st.just("accounts"), st.lists(VALUES, max_size=3) | VALUES) | VALUES)
def test_whatever_the_file_holds_it_is_accounts_or_one_line(tmp_path_factory, content):
    path = written(tmp_path_factory.getbasetemp(), content)
    try:
        said = repr(read_accounts(path))
    except ConfigError as exc:
        said = str(exc)
    assert "\n" not in said


def test_a_server_takes_the_file_or_keys_not_both(tmp_path):
    path = written(tmp_path, TOML, "accounts.toml")
    assert LocalDIS(accounts=path).project_id == "shop-project"
    assert LocalDIS(accounts=str(path)).accounts.first.account.name == "shop"
    with pytest.raises(ConfigError, match="users"):
        LocalDIS(accounts=path, access_key="AK")


def test_a_remote_host_needs_other_keys_than_the_built_in_in_a_file_too(tmp_path):
    built_in = LocalDIS().credentials
    known = [{"access_key": "AK", "secret_key": built_in.secret_key}]
    path = written(tmp_path, {"accounts": [account(users=[user(keys=known)])]})
    LocalDIS(accounts=path)
    with pytest.raises(ConfigError, match="known to everyone"):
        LocalDIS(accounts=path, host="0.0.0.0", allow_remote=True)
    path = written(tmp_path, TOML, "accounts.toml")
    LocalDIS(accounts=path, host="0.0.0.0", allow_remote=True)
