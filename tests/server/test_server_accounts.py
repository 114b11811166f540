"""Several accounts on one server, over the socket: projects, permissions, policies."""

import json
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from aiodis import Credentials, DISClient
from aiodis.credentials import AccessKey
from aiodis.errors import AuthError, NotFoundError, ServiceError
from aiodis.record import Record
from aiodis.server import Account, LocalDIS, User

SHOP, MILL = "shop-project", "mill-project"


def key(name):
    return (AccessKey(f"AK-{name}", f"SK-{name}"),)


def accounts():
    shop = (
        User("ann", "ann's password", key("ann")),
        User("writer", None, key("writer"), frozenset({"dis:records:write", "dis:streams:get"})),
        User("clerk", None, key("clerk"), frozenset({"dis:streams:*"})),
    )
    mill = (User("bob", "bob's password", key("bob")), User("eve", None, key("eve")))
    return [Account("shop", SHOP, shop), Account("mill", MILL, mill)]


class Who:
    """Users by name; a new client at each use, since a refusal closes a client's breaker."""

    def __init__(self, server, stack):
        self._server, self._stack = server, stack

    def __getattr__(self, name):
        [account] = [
            account.name
            for account in self._server.accounts.all
            if name in {user.name for user in account.users}
        ]
        client = DISClient(**self._server.settings_of(account, name), retries=0)
        self._stack.push_async_callback(client.close)
        return client


@asynccontextmanager
async def clients(server):
    async with AsyncExitStack() as stack:
        yield Who(server, stack)


@pytest.fixture
async def server(clock):
    async with LocalDIS(accounts=accounts(), clock=clock) as server:
        yield server


@pytest.fixture
async def who(server):
    async with clients(server) as found:
        yield found


async def stream_id_of(client, name="s"):
    return (await client.streams.describe(stream_name=name)).stream_id


async def shared(who, *actions, principal="mill.*"):
    """Make the shop's stream, and let the mill do some actions; give its id."""
    await who.ann.streams.create(stream_name="s", partition_count=1)
    stream_id = await stream_id_of(who.ann)
    for action in actions:
        await who.ann.policies.create(
            stream_name="s", stream_id=stream_id, principal_name=principal, action_type=action
        )
    return stream_id


def put(client, stream_id, name="s", data=b"data"):
    return client.records.put(stream_name=name, stream_id=stream_id, records=[Record(data)])


async def cursor(client, stream_id, name="s"):
    asked = {"stream_name": name, "partition_id": "0", "cursor_type": "TRIM_HORIZON"}
    return (await client.records.get_cursor(**asked, stream_id=stream_id)).partition_cursor


async def read(client, stream_id, name="s"):
    found = await client.records.get(partition_cursor=await cursor(client, stream_id, name))
    return [record.data for record in found.records]


@asynccontextmanager
async def forbidden(text=""):
    with pytest.raises(AuthError) as caught:
        yield
    assert (caught.value.status, caught.value.code) == (403, "DIS.4116")
    assert text in caught.value.message


class TestProjects:
    async def test_each_account_has_streams_and_apps_of_its_own(self, who):
        for client, count in [(who.ann, 1), (who.bob, 3)]:
            await client.streams.create(stream_name="s", partition_count=count)
            await client.apps.create(app_name="a")
        await who.ann.apps.create(app_name="b")
        assert len((await who.bob.streams.describe(stream_name="s")).partitions) == 3
        assert [app.app_name async for app in who.bob.apps.list_all()] == ["a"]
        await who.ann.streams.delete(stream_name="s")
        assert (await who.bob.streams.list()).stream_names == ["s"]
        assert (await who.ann.streams.list()).stream_names == []

    async def test_each_account_has_quotas_of_its_own(self, who):
        await who.ann.streams.create(stream_name="s", partition_count=50)
        with pytest.raises(ServiceError, match="50 used"):
            await who.ann.streams.create(stream_name="t", partition_count=1)
        await who.bob.streams.create(stream_name="s", partition_count=50)

    async def test_another_accounts_project_is_refused(self, server):
        settings = server.settings_of("mill", "bob") | {"project_id": SHOP}
        async with DISClient(**settings, retries=0) as bob:
            with pytest.raises(ServiceError) as caught:
                await bob.streams.list()
        assert caught.value.code == "DIS.4117"

    async def test_a_client_finds_its_project_at_iam(self, server):
        for name, user, project in [("shop", "ann", SHOP), ("mill", "eve", MILL)]:
            settings = server.settings_of(name, user) | {"project_id": None}
            async with DISClient(**settings) as client:
                await client.streams.create(stream_name="found", partition_count=1)
            async with DISClient(**settings | {"project_id": project}) as client:
                assert (await client.streams.list()).stream_names == ["found"]

    async def test_a_client_lists_the_projects_of_its_account(self, who):
        [project] = await who.bob.projects()
        assert (project.id, project.name) == (MILL, "local")
        assert [found.id for found in await who.ann.projects("local")] == [SHOP]
        assert await who.ann.projects("elsewhere") == []

    async def test_each_project_keeps_its_data_in_its_own_folder(self, tmp_path):
        for _ in range(2):
            async with LocalDIS(tmp_path, accounts=accounts()) as server, clients(server) as who:
                if not (await who.ann.streams.list()).stream_names:
                    await shared(who, "putRecords")
                assert (await who.bob.streams.list()).stream_names == []
                stream_id = await stream_id_of(who.ann)
                assert (await put(who.bob, stream_id)).failed_record_count == 0
        assert sorted(p.name for p in (tmp_path / "projects").iterdir()) == [MILL, SHOP]
        assert (tmp_path / "projects" / SHOP / "streams" / stream_id).is_dir()

    async def test_a_folder_of_one_project_opens_with_accounts(self, tmp_path):
        alone = {"path": tmp_path, "project_id": SHOP}
        async with LocalDIS(**alone) as server, DISClient(**server.client_settings) as dis:
            await dis.streams.create(stream_name="old", partition_count=1)
        async with LocalDIS(**alone, accounts=accounts()) as server, clients(server) as who:
            assert (await who.ann.streams.list()).stream_names == ["old"]
            assert (await who.bob.streams.list()).stream_names == []
        async with LocalDIS(**alone) as server, DISClient(**server.client_settings) as dis:
            assert (await dis.streams.list()).stream_names == ["old"]

    async def test_an_anonymous_caller_gets_the_project_of_the_path(self):
        async with LocalDIS(accounts=accounts(), anonymous=True) as server, clients(server) as who:
            stream_id = await shared(who)
            assert (await who.bob.streams.list()).stream_names == []
            assert (await put(who.bob, stream_id)).failed_record_count == 0


class TestPermissions:
    async def test_a_user_may_do_what_the_actions_say_and_nothing_else(self, who):
        await who.clerk.streams.create(stream_name="s", partition_count=1)
        assert (await who.writer.streams.describe(stream_name="s")).stream_name == "s"
        assert (await put(who.writer, None)).failed_record_count == 0
        async with forbidden("[dis:streams:create]"):
            await who.writer.streams.create(stream_name="t", partition_count=1)
        async with forbidden("[dis:records:readCursor]"):
            await cursor(who.writer, None)
        async with forbidden("[dis:records:read]"):
            await who.writer.records.get(partition_cursor=await cursor(who.ann, None))
        async with forbidden("[dis:records:write]"):
            await put(who.clerk, None)
        async with forbidden("[dis:apps:list]"):
            await who.clerk.apps.list()
        async with forbidden("[dis:streamPolicies:list]"):
            await who.clerk.policies.list(stream_name="s")

    async def test_a_refused_call_changes_nothing(self, who):
        await shared(who)
        async with forbidden():
            await who.writer.streams.delete(stream_name="s")
        assert (await who.ann.streams.list()).stream_names == ["s"]


class TestPolicies:
    async def test_without_a_policy_another_accounts_stream_is_refused(self, who):
        stream_id = await shared(who)
        for attempt in (
            lambda: put(who.bob, stream_id),
            lambda: cursor(who.bob, stream_id),
            lambda: who.bob.streams.describe(stream_name=stream_id),
            lambda: who.bob.streams.describe(stream_name="s", stream_id=stream_id),
        ):
            async with forbidden(stream_id):
                await attempt()

    async def test_who_may_put_may_not_get(self, who):
        stream_id = await shared(who, "putRecords")
        assert (await put(who.bob, stream_id, data=b"from the mill")).failed_record_count == 0
        async with forbidden(stream_id):
            await cursor(who.bob, stream_id)
        async with forbidden(stream_id):
            await who.bob.records.get(partition_cursor=await cursor(who.ann, None))
        assert await read(who.ann, None) == [b"from the mill"]

    async def test_who_may_get_may_not_put(self, who):
        stream_id = await shared(who, "getRecords")
        await put(who.ann, None, data=b"from the shop")
        assert await read(who.bob, stream_id) == [b"from the shop"]
        assert await read(who.bob, None, name=stream_id) == [b"from the shop"]
        async with forbidden(stream_id):
            await put(who.bob, stream_id)
        assert (await who.bob.streams.describe(stream_name=stream_id)).stream_name == "s"

    async def test_nothing_but_records_is_shared(self, who):
        stream_id = await shared(who, "putRecords", "getRecords")
        for attempt in (
            lambda: who.bob.streams.delete(stream_name=stream_id),
            lambda: who.bob.streams.update(stream_name=stream_id, data_duration=48),
            lambda: who.bob.streams.scale(stream_name=stream_id, target_partition_count=2),
            lambda: who.bob.policies.list(stream_name=stream_id),
        ):
            with pytest.raises(NotFoundError):
                await attempt()

    async def test_a_policy_for_one_user_is_for_no_other(self, who):
        stream_id = await shared(who, "putRecords", principal="mill.bob")
        await put(who.bob, stream_id)
        async with forbidden():
            await put(who.eve, stream_id)

    async def test_a_policy_does_not_replace_the_users_own_permission(self, server, who):
        await who.bob.streams.create(stream_name="theirs", partition_count=1)
        stream_id = await stream_id_of(who.bob, "theirs")
        await who.bob.policies.create(
            stream_name="theirs",
            stream_id=stream_id,
            principal_name="shop",
            action_type="getRecords",
        )
        assert await read(who.ann, stream_id, "theirs") == []
        async with forbidden("[dis:records:readCursor]"):
            await cursor(who.writer, stream_id, "theirs")

    async def test_a_name_is_always_the_callers_own_stream(self, who):
        stream_id = await shared(who, "putRecords", "getRecords")
        await who.bob.streams.create(stream_name="s", partition_count=1)
        await put(who.bob, stream_id, data=b"at home")
        assert await read(who.ann, None) == []
        assert await read(who.bob, None) == [b"at home"]

    async def test_a_policy_on_one_stream_opens_no_other_of_that_account(self, who):
        stream_id = await shared(who, "putRecords")
        await who.ann.streams.create(stream_name="secret", partition_count=1)
        await put(who.bob, stream_id, name="secret", data=b"to s")
        assert await read(who.ann, None, "secret") == []
        assert await read(who.ann, None) == [b"to s"]

    async def test_a_policy_that_is_deleted_lets_nobody_any_more(self, who):
        stream_id = await shared(who, "putRecords", "getRecords")
        policy = {"stream_name": "s", "stream_id": stream_id, "action_type": "getRecords"}
        position = await cursor(who.bob, stream_id)
        await who.ann.policies.delete(**policy, principal_name="mill")
        async with forbidden():
            await who.bob.records.get(partition_cursor=position)
        await put(who.bob, stream_id)
        with pytest.raises(ServiceError) as caught:
            await who.ann.policies.delete(**policy, principal_name="mill")
        assert caught.value.code == "DIS.4603"

    async def test_policies_go_with_their_stream(self, who):
        await shared(who, "putRecords")
        await who.ann.streams.delete(stream_name="s")
        async with forbidden():
            await put(who.bob, await shared(who))

    async def test_the_list_has_each_principal_by_name_and_by_id(self, server, who):
        stream_id = await shared(who, "putRecords", principal="mill.bob, mill , farm.joe")
        found = await who.ann.policies.list(stream_name="s")
        assert found.stream_id == stream_id
        mill = server.accounts.all[1]
        assert {(rule.principal_name, rule.principal) for rule in found.rules} == {
            ("mill.bob", f"{mill.id}.{mill.users[0].id}"),
            ("mill.*", f"{mill.id}.*"),
            ("farm.joe", "farm.joe"),
        }
        assert {(rule.action_type, rule.effect) for rule in found.rules} == {
            ("putRecords", "accept")
        }

    async def test_making_a_policy_twice_is_making_it_once(self, who):
        await shared(who, "putRecords", "putRecords")
        assert len((await who.ann.policies.list(stream_name="s")).rules) == 1

    async def test_the_id_must_be_the_streams_own(self, who):
        await shared(who)
        with pytest.raises(ServiceError, match="stream_id") as caught:
            await who.ann.policies.create(
                stream_name="s", stream_id="x", principal_name="mill", action_type="putRecords"
            )
        assert caught.value.code == "DIS.4200"

    async def test_a_producer_writes_to_another_accounts_stream_by_its_id(self, who):
        stream_id = await shared(who, "putRecords")
        async with who.bob.producer(stream_id) as producer:
            await producer.send(b"from the mill")
        assert await read(who.ann, None) == [b"from the mill"]


class TestTokens:
    async def test_each_users_token_is_for_the_users_project(self, server):
        for name, user, project in [("shop", "ann", SHOP), ("mill", "bob", MILL)]:
            credentials = Credentials.password(user, f"{user}'s password", domain_name=name)
            settings = {**server.client_settings, "credentials": credentials}
            async with DISClient(**settings | {"project_id": project}) as client:
                await client.streams.create(stream_name=user, partition_count=1)
                assert (await client.streams.list()).stream_names == [user]

    @pytest.mark.parametrize(
        ("domain", "user", "password", "scope", "status"),
        [
            ({"name": "shop"}, "ann", "ann's password", {"project": {"id": SHOP}}, 201),
            ({"name": "shop"}, "ann", "ann's password", {"project": {"name": "local"}}, 201),
            ({"name": "shop"}, "ann", "ann's password", None, 201),
            ({"name": "shop"}, "ann", "ann's password", {"project": {"id": MILL}}, 401),
            ({"name": "shop"}, "ann", "ann's password", {"project": {"name": "other"}}, 401),
            ({"name": "shop"}, "ann", "ann's password", {"project": {}}, 401),
            ({"name": "shop"}, "ann", "ann's password", {"domain": {"name": "shop"}}, 400),
            ({"name": "shop"}, "ann", "bob's password", {"project": {"id": SHOP}}, 401),
            ({"name": "mill"}, "ann", "ann's password", {"project": {"id": SHOP}}, 401),
            ({}, "ann", "ann's password", {"project": {"id": SHOP}}, 401),
            ({"name": "shop"}, "writer", "", {"project": {"id": SHOP}}, 401),
            ({"name": "shop"}, "writer", "SK-writer", {"project": {"id": SHOP}}, 401),
        ],
    )
    async def test_a_token_needs_the_right_domain_password_and_scope(
        self, server, domain, user, password, scope, status
    ):
        token, _ = await ask_token(server, domain, user, password, scope, status)
        assert (token is None) == (status != 201)

    async def test_a_token_opens_its_own_project_for_a_day(self, server, clock):
        token, body = await ask_token(server, {"name": "shop"}, "ann", "ann's password")
        assert body["token"]["project"]["id"] == SHOP
        assert body["token"]["user"]["domain"]["name"] == "shop"
        settings = {**server.client_settings, "credentials": Credentials.token(token)}
        async with DISClient(**settings, retries=0) as client:
            assert (await client.streams.list()).stream_names == []
            clock.advance(hours=24)
            with pytest.raises(AuthError) as caught:
                await client.streams.list()
        assert caught.value.code == "DIS.4114"
        token, _ = await ask_token(server, {"name": "shop"}, "ann", "ann's password")
        settings |= {"credentials": Credentials.token(token), "project_id": MILL}
        async with DISClient(**settings, retries=0) as client:
            with pytest.raises(ServiceError) as caught:
                await client.streams.list()
        assert caught.value.code == "DIS.4117"

    async def test_a_token_of_one_server_opens_no_other(self, server, clock):
        token, _ = await ask_token(server, {"name": "shop"}, "ann", "ann's password")
        changed = Account("shop", SHOP, (User("ann", "changed"),))
        async with LocalDIS(accounts=[changed], clock=clock) as other:
            settings = {**other.client_settings, "credentials": Credentials.token(token)}
            async with DISClient(**settings, retries=0) as client:
                with pytest.raises(AuthError) as caught:
                    await client.streams.list()
        assert caught.value.code == "DIS.4114"


async def ask_token(server, domain, user, password, scope=None, status=201):
    user = {"name": user, "password": password, "domain": domain}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
    body = json.dumps({"auth": auth | ({"scope": scope} if scope is not None else {})})
    async with (
        aiohttp.ClientSession(server.endpoint) as session,
        session.post("/v3/auth/tokens", data=body.encode()) as response,
    ):
        assert response.status == status
        return response.headers.get("X-Subject-Token"), await response.json()
