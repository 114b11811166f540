"""Accounts that come and go while the server runs, from its own thread and from another."""

import asyncio

import pytest

from aiodis import Credentials, DISClient
from aiodis.api.streams import CreateStream, Streams
from aiodis.credentials import AccessKey
from aiodis.errors import AlreadyExistsError, AuthError, ClosedError, ConfigError, NotFoundError
from aiodis.record import Record
from aiodis.server import Account, LocalDIS, User
from aiodis.server.faults import reset, reset_before


def account(name="box", **changes):
    user = User(f"{name}-user", "a password", (AccessKey(f"AK-{name}", f"SK-{name}"),), **changes)
    return Account(name, f"{name}-project", (user,))


@pytest.fixture
async def server():
    async with LocalDIS() as server:
        yield server


def client(settings, **changes):
    return DISClient(**settings | {"retries": 0, **changes})


async def put(dis, *data):
    return await dis.records.put(
        stream_name="s", records=[Record(d, partition_id="0") for d in data]
    )


async def test_an_added_account_has_streams_of_its_own(server):
    async with (
        client(server.client_settings) as first,
        client(server.add_account(account())) as box,
    ):
        for dis, data in ((first, b"first"), (box, b"box")):
            await dis.streams.create(stream_name="s", partition_count=1)
            await put(dis, data)
        assert [r.data for r in server.records("s")] == [b"first"]
        assert [r.data for r in server.records("s", project_id="box-project")] == [b"box"]


async def test_an_account_is_added_and_removed_from_another_thread(server):
    settings = await asyncio.to_thread(server.add_account, account())
    async with client(settings) as box:
        await box.streams.create(stream_name="s", partition_count=2)
        await put(box, b"1", b"2")
        found = await asyncio.to_thread(server.records, "s", project_id="box-project")
        assert [(r.partition_id[-1], r.sequence_number, r.data) for r in found] == [
            ("0", 0, b"1"),
            ("0", 1, b"2"),
        ]
        await asyncio.to_thread(server.remove_account, "box")
        with pytest.raises(AuthError):
            await box.streams.list()


async def test_an_added_user_gets_tokens(server):
    settings = server.add_account(account())
    password = Credentials.password("box-user", "a password", domain_name="box")
    async with client(settings, credentials=password) as box:
        assert (await box.streams.list()).stream_names == []


async def test_users_of_one_name_are_told_apart_by_their_account(server):
    for name in ("one", "two"):
        user = User("app", f"the password of {name}")
        server.add_account(Account(name, f"{name}-project", (user,)))
    for name in ("one", "two"):
        async with client(server.settings_of(name, "app")) as dis:
            assert (await dis.streams.list()).stream_names == []


@pytest.mark.parametrize(
    "double",
    [
        Account("box", "other-project", (User("u", None, (AccessKey("a", "b"),)),)),
        Account("other", "box-project", (User("u", None, (AccessKey("a", "b"),)),)),
        Account("other", "other-project", (User("u", None, (AccessKey("AK-box", "b"),)),)),
    ],
)
async def test_what_is_there_already_is_refused_and_nothing_changes(server, double):
    server.add_account(account())
    with pytest.raises(ConfigError, match="twice"):
        server.add_account(double)
    assert [a.name for a in server.accounts.all] == ["local", "box"]


async def test_a_setting_that_is_none_is_refused(server):
    with pytest.raises(ConfigError, match="no setting 'limit'"):
        server.add_account(account(), limit=False)


async def test_the_settings_of_an_added_account_are_its_own(server):
    server.add_account(account("free"), limited=False)
    server.add_account(account("poor"), quotas={"common_partition": 1})
    many = CreateStream(stream_name="s", partition_count=51)
    with pytest.raises(Exception, match=r"DIS\.4308"):
        server.carry_out(Streams.create, many)
    server.carry_out(Streams.create, many, project_id="free-project")
    two = CreateStream(stream_name="s", partition_count=2)
    with pytest.raises(Exception, match=r"DIS\.4308"):
        server.carry_out(Streams.create, two, project_id="poor-project")


async def test_what_the_service_refuses_is_its_error_from_any_thread(server):
    one = CreateStream(stream_name="s", partition_count=1)
    server.carry_out(Streams.create, one)
    with pytest.raises(AlreadyExistsError):
        await asyncio.to_thread(server.carry_out, Streams.create, one)
    with pytest.raises(NotFoundError):
        server.records("t")


async def test_the_first_account_stays(server):
    with pytest.raises(KeyError):
        server.remove_account("local")
    with pytest.raises(KeyError):
        server.remove_account("nobody")


async def test_a_removed_project_has_no_duties_left(server):
    agenda = server._served[1].agenda
    before = dict(agenda._duties)
    server.add_account(account())
    assert len(agenda._duties) > len(before)
    server.remove_account("box")
    assert agenda._duties == before


async def test_a_server_that_does_not_run_takes_nobody_in():
    server = LocalDIS()
    for act in (
        lambda: server.add_account(account()),
        lambda: server.remove_account("box"),
        lambda: server.records("s"),
    ):
        with pytest.raises(ClosedError):
            act()
    assert [a.name for a in server.accounts.all] == ["local"]


async def test_an_added_account_outlives_a_restart_and_what_is_on_disk_too(tmp_path):
    server = LocalDIS(tmp_path)
    async with server:
        server.add_account(account())
        one = CreateStream(stream_name="s", partition_count=1)
        server.carry_out(Streams.create, one, project_id="box-project")
    async with server, client(server.settings_of("box", "box-user")) as box:
        assert (await box.streams.list()).stream_names == ["s"]


# Faults of one project


async def test_a_projects_faults_come_to_its_own_calls_only(server):
    faults = server.faults.of_project("box-project")
    async with (
        client(server.client_settings) as first,
        client(server.add_account(account())) as box,
    ):
        for dis in (first, box):
            await dis.streams.create(stream_name="s", partition_count=1)
        faults.push("records.put", error="DIS.5000")
        faults.push("records.put", outcome=reset_before())
        await put(first, b"x")
        for _ in range(2):
            with pytest.raises(Exception, match=r"DIS\.5000|connection"):
                await put(box, b"x")
        faults.assert_exhausted()
        partial = faults.partial(code="DIS.4303", times=1)
        assert (await put(first, b"x")).failed_record_count == 0
        assert (await put(box, b"x")).failed_record_count == 1
        assert partial.count == 1
        assert faults.counts == server.faults.counts
        assert not server.faults.of_project(server.project_id).counts


async def test_the_servers_faults_come_to_the_calls_of_every_project(server):
    box = server.faults.of_project("box-project")
    async with client(server.add_account(account())) as dis:
        server.faults.push("streams.list", error="DIS.5000")
        with pytest.raises(Exception, match=r"DIS\.5000"):
            await dis.streams.list()
    assert not box.counts
    assert server.faults.counts["streams.list", "error DIS.5000"] == 1


async def test_clearing_a_projects_faults_leaves_the_others(server):
    one, two = (server.faults.of_project(name) for name in ("one", "two"))
    for faults in (one, two, server.faults):
        faults.push("*", error="DIS.5000")
    one.clear()
    with pytest.raises(AssertionError, match=r"DIS\.5000"):
        two.assert_exhausted()
    one.assert_exhausted()
    server.faults.clear()
    two.assert_exhausted()
    assert not server.faults.armed


async def test_a_removed_account_leaves_no_faults(server):
    server.add_account(account())
    server.faults.of_project("box-project").push("*", error="DIS.5000")
    server.remove_account("box")
    assert not server.faults.armed


async def test_iams_faults_of_a_project_come_to_its_users(server):
    server.add_account(account("one"))
    server.add_account(account("two"))
    faults = server.faults.of_project("one-project")
    faults.push("iam.tokens", outcome=reset())
    for name, fails in (("two", False), ("one", True)):
        password = Credentials.password(f"{name}-user", "a password", domain_name=name)
        settings = server.settings_of(name, f"{name}-user") | {"credentials": password}
        async with client(settings) as dis:
            if fails:
                with pytest.raises(Exception, match="connection"):
                    await dis.streams.list()
            else:
                await dis.streams.list()
    faults.assert_exhausted()


def test_a_break_before_iam_knows_whose_call_it_is_is_refused():
    with pytest.raises(ConfigError, match="whose call"):
        LocalDIS().faults.of_project("p").push("iam.tokens", outcome=reset_before())


def test_a_rule_draws_the_same_whichever_project_it_is_for():
    drawn = []
    for project in ("one", "two"):
        faults = LocalDIS().faults.of_project(project)
        faults.rule("records.put", error="DIS.5000", rate=0.5, seed=3)
        drawn.append([faults.plan("records.put").ending is None for _ in range(50)])
    assert drawn[0] == drawn[1]
    assert True in drawn[0]
    assert False in drawn[0]
