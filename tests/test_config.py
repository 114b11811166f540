import pytest
from pydantic import ValidationError

from aiodis.config import ClientSettings, ConsumerSettings, ProducerSettings, Static, is_loopback
from aiodis.credentials import AccessKey, IAMPassword, StaticToken
from aiodis.errors import ConfigError

MIB = 1024 * 1024


def refused(kind, **values):
    """What the ConfigError says, which is one line."""
    with pytest.raises(ConfigError) as caught:
        kind(**values)
    text = str(caught.value)
    assert "\n" not in text
    return text


class TestClientSettings:
    def test_a_region_gives_both_endpoints(self):
        settings = ClientSettings(region="cn-north-4")
        assert settings.base_url == "https://dis.cn-north-4.myhuaweicloud.com"
        assert settings.iam_url == "https://iam.cn-north-4.myhuaweicloud.com"

    @pytest.mark.parametrize(
        ("endpoint", "url"),
        [
            ("https://dis.example", "https://dis.example"),
            ("https://dis.example/", "https://dis.example"),
            ("https://dis.example:8443", "https://dis.example:8443"),
            ("dis.example", "https://dis.example"),
            ("dis.example:8443", "https://dis.example:8443"),
            ("http://127.0.0.1:7070", "http://127.0.0.1:7070"),
            ("http://[::1]:7070", "http://[::1]:7070"),
            ("http://localhost:7070/", "http://localhost:7070"),
        ],
    )
    def test_an_endpoint_beats_the_region(self, endpoint, url):
        assert ClientSettings(region="cn-north-4", endpoint=endpoint).base_url == url

    def test_iam_is_asked_at_an_embedded_dis_itself(self):
        settings = ClientSettings(region="cn-north-4", endpoint="http://127.0.0.1:7070")
        assert settings.iam_url == "http://127.0.0.1:7070"
        assert ClientSettings(endpoint="https://dis.example").iam_url == "https://dis.example"

    def test_a_foreign_endpoint_of_a_region_asks_the_regions_iam(self):
        settings = ClientSettings(region="cn-north-4", endpoint="https://vpce.example")
        assert settings.iam_url == "https://iam.cn-north-4.myhuaweicloud.com"

    def test_neither_region_nor_endpoint_is_refused(self):
        assert refused(ClientSettings) == "give a region or an endpoint"

    @pytest.mark.parametrize("signing", ["scoped", "v11", "v11-v3"])
    def test_a_scoped_signature_without_a_region_is_refused(self, signing):
        text = refused(ClientSettings, endpoint="https://dis.example", signing=signing)
        assert text == f"signing={signing!r} needs a region"

    def test_v3_needs_no_region(self):
        assert ClientSettings(endpoint="https://dis.example").signing == "v3"

    @pytest.mark.parametrize(
        "endpoint",
        [
            "ftp://dis.example",
            "https://",
            "https://dis.example?a=b",
            "https://dis.example#x",
            "https://[bad",
            "https://dis.example:notaport",
            "https://dis.example:65536",
        ],
    )
    def test_an_endpoint_that_is_none_is_refused(self, endpoint):
        assert refused(ClientSettings, endpoint=endpoint)

    def test_a_password_in_the_endpoint_is_refused_and_not_shown(self):
        text = refused(ClientSettings, endpoint="https://me:hunter2@dis.example")
        assert "must not hold" in text
        assert "hunter2" not in text

    def test_plain_http_to_another_machine_is_refused(self):
        assert "allow_http=True" in refused(ClientSettings, endpoint="http://dis.example")

    def test_plain_http_to_another_machine_may_be_allowed(self):
        settings = ClientSettings(endpoint="http://dis.example", allow_http=True)
        assert settings.base_url == "http://dis.example"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("request_timeout_ms", 0),
            ("connect_timeout_ms", -1),
            ("call_timeout_ms", 0),
            ("max_connections", 0),
            ("retries", -1),
            ("retry_backoff_ms", 0),
            ("retry_budget", 1.1),
            ("retry_budget", -0.1),
            ("breaker_failures", 0),
            ("breaker_open_ms", 0),
            ("signing", "v4"),
        ],
    )
    def test_a_number_out_of_range_is_refused_by_name(self, name, value):
        assert refused(ClientSettings, endpoint="https://x", **{name: value}).startswith(f"{name}:")

    @pytest.mark.parametrize(("name", "value"), [("retries", 0), ("retry_budget", 0)])
    def test_a_number_at_its_bound_is_taken(self, name, value):
        assert getattr(ClientSettings(endpoint="https://x", **{name: value}), name) == value

    def test_a_misspelled_setting_is_refused_with_the_known_ones(self):
        text = refused(ClientSettings, endpoint="https://x", retrys=3)
        assert text.startswith("retrys: there is no such setting; there are: ")
        assert "retries" in text

    def test_settings_are_frozen(self):
        settings = ClientSettings(endpoint="https://x")
        with pytest.raises(ValidationError):
            settings.retries = 1

    @pytest.mark.parametrize(
        "credentials",
        [
            AccessKey("AK", "s3cret-key", "s3cret-token"),
            StaticToken("s3cret-token"),
            IAMPassword("me", "s3cret-word", "dom"),
        ],
    )
    def test_a_repr_hides_the_secrets_inside(self, credentials):
        settings = ClientSettings(endpoint="https://x", credentials=credentials)
        assert settings.credentials == credentials
        assert "s3cret" not in repr(settings)
        assert "s3cret" not in str(settings)

    def test_credentials_that_are_none_are_refused_and_not_shown(self):
        text = refused(ClientSettings, endpoint="https://x", credentials="s3cret")
        assert text.startswith("credentials")
        assert "s3cret" not in text


class TestFromEnv:
    def test_it_reads_our_names(self):
        env = {
            "AIODIS_REGION": "cn-north-4",
            "AIODIS_ENDPOINT": "https://dis.example",
            "AIODIS_PROJECT_ID": "ours",
            "AIODIS_CA_FILE": "/ca.pem",
            "PATH": "/bin",
        }
        assert ClientSettings.from_env(env) == {
            "region": "cn-north-4",
            "endpoint": "https://dis.example",
            "project_id": "ours",
            "ca_file": "/ca.pem",
        }

    def test_our_project_beats_the_vendors(self):
        theirs = {"HUAWEICLOUD_SDK_PROJECT_ID": "theirs"}
        assert ClientSettings.from_env(theirs) == {"project_id": "theirs"}
        both = {**theirs, "AIODIS_PROJECT_ID": "ours"}
        assert ClientSettings.from_env(both) == {"project_id": "ours"}

    def test_an_empty_variable_is_not_there(self):
        env = {"AIODIS_REGION": "", "AIODIS_PROJECT_ID": "", "HUAWEICLOUD_SDK_PROJECT_ID": "theirs"}
        assert ClientSettings.from_env(env) == {"project_id": "theirs"}
        assert ClientSettings.from_env({}) == {}


class TestProducerSettings:
    def test_the_defaults_work(self):
        settings = ProducerSettings()
        assert (settings.linger_ms, settings.batch_max_bytes) == (50, None)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("linger_ms", 0),
            ("batch_max_records", 1),
            ("batch_max_records", 10_000),
            ("batch_max_bytes", 1),
            ("batch_max_bytes", 5 * MIB),
            ("batch_max_bytes", None),
            ("max_block_ms", 0),
            ("rate_limit_share", 1.0),
            ("rate_limit_share", 0.01),
            ("close_timeout_ms", 0),
            ("ordering", "none"),
        ],
    )
    def test_a_value_at_its_bound_is_taken(self, name, value):
        assert getattr(ProducerSettings(**{name: value}), name) == value

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("linger_ms", -1),
            ("batch_max_records", 0),
            ("batch_max_records", 10_001),
            ("batch_max_bytes", 0),
            ("batch_max_bytes", 5 * MIB + 1),
            ("max_in_flight", 0),
            ("buffer_memory", 0),
            ("delivery_timeout_ms", 0),
            ("rate_limit_share", 0),
            ("rate_limit_share", 1.01),
            ("rate_limit", "adaptive?"),
            ("ordering", "topic"),
            ("linger", 5),
        ],
    )
    def test_a_value_past_its_bound_is_refused_by_name(self, name, value):
        assert refused(ProducerSettings, **{name: value}).startswith(f"{name}:")


class TestConsumerSettings:
    def test_an_app_is_needed(self):
        assert refused(ConsumerSettings) == "app: Field required"

    def test_the_defaults_work(self):
        settings = ConsumerSettings(app="a")
        assert settings.group == Static(0, 1)
        assert settings.max_fetch_bytes == MIB

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("max_fetch_bytes", MIB - 1),  # the largest record would never come
            ("prefetch_batches", 0),
            ("auto_commit_interval_ms", 0),
            ("poll_min_ms", 0),
            ("cursor_max_age_ms", 0),
            ("offset_reset", "oldest"),
            ("checkpoint_convention", "both"),
            ("application", "a"),
        ],
    )
    def test_a_value_past_its_bound_is_refused_by_name(self, name, value):
        assert refused(ConsumerSettings, app="a", **{name: value}).startswith(f"{name}:")

    def test_the_polls_bounds_must_be_in_order(self):
        text = refused(ConsumerSettings, app="a", poll_min_ms=1001)
        assert text == "poll_min_ms is above poll_max_ms"
        assert ConsumerSettings(app="a", poll_min_ms=1000).poll_max_ms == 1000

    def test_one_fetch_must_fit_into_the_prefetch(self):
        text = refused(ConsumerSettings, app="a", prefetch_bytes=MIB, max_fetch_bytes=MIB + 1)
        assert text == "prefetch_bytes is below max_fetch_bytes"
        assert ConsumerSettings(app="a", prefetch_bytes=MIB).prefetch_bytes == MIB


class TestStatic:
    def test_the_members_of_a_group_share_all_partitions_without_overlap(self):
        members = [Static(index, 3) for index in range(3)]
        for partition in range(20):
            assert sum(member.owns(partition) for member in members) == 1

    def test_one_member_owns_all(self):
        assert all(Static().owns(partition) for partition in range(10))

    @pytest.mark.parametrize(("index", "count"), [(-1, 2), (2, 2), (0, 0), (0, -1)])
    def test_a_member_outside_of_its_group_is_refused(self, index, count):
        with pytest.raises(ConfigError, match="must be below count"):
            Static(index, count)


@pytest.mark.parametrize(
    "host", ["localhost", "dis.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]
)
def test_a_loopback_host_is_one(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["dis.example", "10.0.0.1", "0.0.0.0", "::", "localhost.example", "127.0.0.1.nip.io"]
)
def test_any_other_host_is_none(host):
    assert not is_loopback(host)
