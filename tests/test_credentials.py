import pytest

from aiodis.credentials import AccessKey, Credentials, IAMPassword, StaticToken
from aiodis.errors import ConfigError

KEYS = {"HUAWEICLOUD_SDK_AK": "AK", "HUAWEICLOUD_SDK_SK": "SK"}
TOKEN = {"HUAWEICLOUD_SDK_AUTH_TOKEN": "TOK"}
PASSWORD = {
    "HUAWEICLOUD_SDK_USER_NAME": "me",
    "HUAWEICLOUD_SDK_PASSWORD": "word",
    "HUAWEICLOUD_SDK_DOMAIN_NAME": "dom",
}


class TestFromEnv:
    @pytest.mark.parametrize(
        ("env", "expected"),
        [
            (KEYS, AccessKey("AK", "SK")),
            (
                {**KEYS, "HUAWEICLOUD_SDK_SECURITY_TOKEN": "TEMP"},
                AccessKey("AK", "SK", "TEMP"),
            ),
            (TOKEN, StaticToken("TOK")),
            (PASSWORD, IAMPassword("me", "word", "dom")),
        ],
    )
    def test_each_way_is_read(self, env, expected):
        assert Credentials.from_env(env) == expected

    def test_keys_come_before_a_token_and_a_token_before_a_password(self):
        assert isinstance(Credentials.from_env({**PASSWORD, **TOKEN, **KEYS}), AccessKey)
        assert isinstance(Credentials.from_env({**PASSWORD, **TOKEN}), StaticToken)

    @pytest.mark.parametrize(
        ("given", "missing"),
        [("HUAWEICLOUD_SDK_AK", "SK"), ("HUAWEICLOUD_SDK_SK", "AK")],
    )
    def test_half_a_key_is_an_error_even_beside_a_token(self, given, missing):
        with pytest.raises(ConfigError) as caught:
            Credentials.from_env({**TOKEN, given: "s3cret"})
        assert str(caught.value) == f"the environment lacks HUAWEICLOUD_SDK_{missing}"

    def test_an_empty_variable_is_not_there(self):
        env = {"HUAWEICLOUD_SDK_AK": "", "HUAWEICLOUD_SDK_SK": "", **TOKEN}
        assert Credentials.from_env(env) == StaticToken("TOK")
        env = {**KEYS, "HUAWEICLOUD_SDK_SECURITY_TOKEN": ""}
        assert Credentials.from_env(env) == AccessKey("AK", "SK", None)

    @pytest.mark.parametrize("lacking", PASSWORD)
    def test_a_password_without_its_user_or_domain_is_none(self, lacking):
        env = {name: value for name, value in PASSWORD.items() if name != lacking}
        with pytest.raises(ConfigError, match=r"^no credentials: "):
            Credentials.from_env(env)

    def test_nothing_at_all_says_in_one_line_what_to_set(self):
        with pytest.raises(ConfigError) as caught:
            Credentials.from_env({})
        text = str(caught.value)
        assert "\n" not in text
        assert "HUAWEICLOUD_SDK_AK" in text
        assert "HUAWEICLOUD_SDK_SK" in text

    def test_without_a_mapping_the_processs_own_environment_is_read(self, monkeypatch):
        for name in (*PASSWORD, *KEYS):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HUAWEICLOUD_SDK_AUTH_TOKEN", "TOK")
        assert Credentials.from_env() == StaticToken("TOK")


def test_the_named_ways_make_the_values():
    assert Credentials.static("AK", "SK", "TEMP") == AccessKey("AK", "SK", "TEMP")
    assert Credentials.token("TOK") == StaticToken("TOK")
    made = Credentials.password("me", "word", domain_name="dom", iam_endpoint="https://iam.example")
    assert made == IAMPassword("me", "word", "dom", "https://iam.example")


@pytest.mark.parametrize(
    ("credentials", "shown"),
    [
        (AccessKey("AK", "s3cret-key", "s3cret-token"), "AccessKey(access_key='AK')"),
        (StaticToken("s3cret-token"), "StaticToken()"),
        (
            IAMPassword("me", "s3cret-word", "dom"),
            "IAMPassword(user_name='me', domain_name='dom', iam_endpoint=None)",
        ),
    ],
)
def test_a_repr_hides_every_secret(credentials, shown):
    assert repr(credentials) == str(credentials) == f"{credentials}" == shown
    assert "s3cret" not in repr([credentials])
    assert "s3cret" not in repr({"credentials": credentials})


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda bad: AccessKey(bad, "SK"), "access_key"),
        (lambda bad: AccessKey("AK", bad), "secret_key"),
        (StaticToken, "token"),
        (lambda bad: IAMPassword(bad, "word", "dom"), "user_name"),
        (lambda bad: IAMPassword("me", bad, "dom"), "password"),
        (lambda bad: IAMPassword("me", "word", bad), "domain_name"),
    ],
)
@pytest.mark.parametrize("bad", ["", "  ", None, 5])
def test_an_empty_value_is_refused_by_name(make, name, bad):
    with pytest.raises(ConfigError) as caught:
        make(bad)
    assert str(caught.value) == f"{name} is empty"


@pytest.mark.parametrize(
    "make",
    [
        lambda bad: AccessKey(bad, "SK"),
        lambda bad: AccessKey("AK", bad),
        lambda bad: AccessKey("AK", "SK", bad),
        StaticToken,
        lambda bad: IAMPassword("me", bad, "dom"),
    ],
)
def test_a_line_break_out_of_a_file_is_refused_and_the_value_not_shown(make):
    with pytest.raises(ConfigError, match="holds a control character") as caught:
        make("s3cret\n")
    assert "s3cret" not in str(caught.value)


def test_credentials_are_values():
    key = AccessKey("AK", "SK")
    assert key == AccessKey("AK", "SK")
    assert hash(key) == hash(AccessKey("AK", "SK"))
    with pytest.raises(AttributeError):
        key.secret_key = "other"
