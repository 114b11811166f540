"""Tags: what each operation of the reference's chapter 5.7 does."""

import pytest
from server_caller import calling

LONGEST = {"key": "k" * 36, "value": "v" * 43}


def tag(key, value=""):
    return {"key": key, "value": value}


@pytest.fixture
async def stream(dis):
    await dis.create()
    return dis


async def add(dis, *tags, stream="s", **options):
    options.setdefault("status", 204)
    fields = {"action": "create", "tags": list(tags)}
    return await dis.call("POST", f"stream/{stream}/tags/action", fields, **options)


async def tags_of(dis, stream="s"):
    return (await dis.call("GET", f"stream/{stream}/tags"))["tags"]


async def find(dis, **fields):
    found = await dis.call(
        "POST", "stream/resource_instances/action", {"action": "filter", **fields}
    )
    return [resource["resource_name"] for resource in found["resources"]]


async def test_a_tag_is_added_to_a_stream_by_its_id_or_its_name(stream):
    stream_id = (await stream.describe())["stream_id"]
    for number, key in enumerate((stream_id, "s")):
        fields = {"tag": tag(f"k{number}", "v")}
        assert await stream.call("POST", f"stream/{key}/tags", fields, status=204) is None
        assert stream.last.headers.get("Content-Length", "0") == "0"
    expected = [tag("k0", "v"), tag("k1", "v")]
    assert await tags_of(stream, stream_id) == await tags_of(stream) == expected


async def test_the_tags_of_create_describe_and_list_are_the_same_ones(dis):
    await dis.create(tags=[tag("of", "create")])
    assert await tags_of(dis) == [tag("of", "create")]
    await add(dis, tag("of", "another"), tag("用户", "a.b"))
    expected = [tag("of", "another"), tag("用户", "a.b")]
    assert (await dis.describe())["tags"] == expected
    assert (await dis.call("GET", "streams"))["stream_info_list"][0]["tags"] == expected


async def test_a_stream_without_tags_has_none(stream):
    assert await tags_of(stream) == []
    await add(stream, tag("k"))
    await stream.call("DELETE", "stream/s/tags/k", status=204)
    assert await tags_of(stream) == []
    assert "tags" not in (await stream.describe()) or (await stream.describe())["tags"] == []


async def test_a_key_that_is_there_gets_the_new_value(stream):
    await add(stream, tag("k", "1"), tag("other", "1"))
    await add(stream, tag("k", "2"))
    await stream.call("POST", "stream/s/tags", {"tag": tag("k", "3")}, status=204)
    assert await tags_of(stream) == [tag("k", "3"), tag("other", "1")]


async def test_tags_outlive_a_restart(tmp_path):
    async with calling(tmp_path) as dis:
        await dis.create()
        await add(dis, LONGEST)
    async with calling(tmp_path) as dis:
        assert await tags_of(dis) == [LONGEST]


async def test_an_eleventh_tag_is_one_too_many_but_a_tenth_may_change(stream):
    await add(stream, *(tag(f"k{number}") for number in range(9)))
    await add(stream, tag("k9"))
    before = await tags_of(stream)
    await add(stream, tag("k10"), status=400, code="DIS.4601")
    await stream.refused("DIS.4601", "POST", "stream/s/tags", {"tag": tag("k10")})
    # All or nothing: the tag that would fit is not kept either.
    await add(stream, tag("k9", "new"), tag("k10"), status=400, code="DIS.4601")
    assert await tags_of(stream) == before
    await add(stream, tag("k9", "new"))
    assert len(await tags_of(stream)) == 10


@pytest.mark.parametrize(
    "bad",
    [
        {"value": "v"},
        tag(""),
        tag("k" * 37),
        tag("k", "v" * 44),
        tag("a b"),
        tag("a.b"),
        tag("k", "a b"),
        tag("k", "é"),
        {"key": "k", "value": 5},
        "k",
    ],
)
async def test_a_tag_that_breaks_a_rule_is_refused(stream, bad):
    await stream.refused("DIS.4200", "POST", "stream/s/tags", {"tag": bad})
    await add(stream, tag("good"), bad, status=400, code="DIS.4200")
    assert await tags_of(stream) == []


async def test_a_batch_with_a_key_twice_is_refused(stream):
    await add(stream, tag("k", "1"), tag("k", "2"), status=400, code="DIS.4200")
    await add(stream, status=400, code="DIS.4200")
    assert await tags_of(stream) == []


async def test_a_stream_that_is_not_there_is_a_missing_resource(dis):
    await dis.refused("DIS.4603", "POST", "stream/none/tags", {"tag": tag("k")})
    await dis.refused("DIS.4603", "GET", "stream/none/tags")
    await dis.refused("DIS.4603", "DELETE", "stream/none/tags/k")
    for action in ("create", "delete"):
        fields = {"action": action, "tags": [tag("k")]}
        await dis.refused("DIS.4603", "POST", "stream/none/tags/action", fields)


async def test_a_key_that_is_not_there_cannot_be_deleted_alone(stream):
    await stream.refused("DIS.4604", "DELETE", "stream/s/tags/none")
    await add(stream, tag("用户", "v"))
    await stream.call("DELETE", "stream/s/tags/%E7%94%A8%E6%88%B7", status=204)
    await stream.refused("DIS.4604", "DELETE", "stream/s/tags/%E7%94%A8%E6%88%B7")


async def test_a_batch_deletes_what_is_there_and_forgives_the_rest(stream):
    await add(stream, tag("a", "1"), tag("b", "1"), tag("c", "1"))
    doomed = [{"key": "a"}, tag("b", "other"), tag("c", "1"), {"key": "not a key! " * 10}]
    for _ in range(2):
        await stream.call(
            "POST", "stream/s/tags/action", {"action": "delete", "tags": doomed}, status=204
        )
        assert await tags_of(stream) == [tag("b", "1")]


@pytest.mark.parametrize("bad", [{}, {"key": ""}, {"key": "  "}, {"key": None}, {"value": "v"}, 5])
async def test_a_tag_to_delete_has_a_key(stream, bad):
    await add(stream, tag("a"))
    fields = {"action": "delete", "tags": [tag("a"), bad]}
    await stream.refused("DIS.4200", "POST", "stream/s/tags/action", fields)
    assert await tags_of(stream) == [tag("a")]


@pytest.mark.parametrize("action", ["update", "", None, 5, ["create"]])
async def test_an_unknown_action_is_refused(stream, action):
    for path in ("stream/s/tags/action", "stream/resource_instances/action"):
        fields = {"action": action, "tags": []}
        message = await stream.refused("DIS.4605", "POST", path, fields)
        assert message.startswith("The action is not supported. [action: one of ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "tags"),
        ("POST", "resource_instances/action"),
        ("GET", "x/tags"),
        ("POST", "x/tags"),
        ("POST", "x/tags/action"),
        ("DELETE", "x/tags/k"),
    ],
)
async def test_only_streams_have_tags(dis, method, path):
    message = await dis.refused("DIS.4602", method, f"disk/{path}")
    assert message == "Invalid resource type. [disk]"


async def test_another_resource_is_not_looked_at_without_credentials():
    async with calling(anonymous=False) as dis:
        await dis.refused("DIS.4101", "GET", "disk/x/tags", status=441)


async def test_the_region_has_each_key_with_all_its_values(dis):
    assert await dis.call("GET", "stream/tags") == {"tags": []}
    for name, *tags in [("a", tag("k", "2"), tag("l", "1")), ("b", tag("k", "1")), ("c",)]:
        await dis.create(name, tags=tags)
    expected = [{"key": "k", "values": ["1", "2"]}, {"key": "l", "values": ["1"]}]
    assert await dis.call("GET", "stream/tags") == {"tags": expected}
    await dis.call("DELETE", "streams/b", status=204)
    assert (await dis.call("GET", "stream/tags"))["tags"][0]["values"] == ["2"]


@pytest.fixture
async def streams(dis):
    """Streams whose names tell their tags: `x1y2` has x=1 and y=2."""
    for name in ("x1", "x2", "x1y1", "x2y1", "y2", "none"):
        pairs = zip(name[::2], name[1::2], strict=True) if name != "none" else ()
        await dis.create(name, tags=[tag(key, value) for key, value in pairs])
    return dis


def has(key, *values):
    return {"key": key, "values": list(values)}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, "none x1 x1y1 x2 x2y1 y2"),
        ({"tags": []}, "none x1 x1y1 x2 x2y1 y2"),
        # Keys are joined by AND, the values of one by OR; no value is any value.
        ({"tags": [has("x", "1")]}, "x1 x1y1"),
        ({"tags": [has("x", "1", "2")]}, "x1 x1y1 x2 x2y1"),
        ({"tags": [has("x"), {"key": "y"}]}, "x1y1 x2y1"),
        ({"tags": [has("x", "1"), has("x", "2")]}, ""),
        ({"tags_any": [has("x", "1"), has("y", "2")]}, "x1 x1y1 y2"),
        ({"not_tags": [has("x"), has("y")]}, "none x1 x2 y2"),
        ({"not_tags_any": [has("x", "1"), has("y")]}, "none x2"),
        ({"not_tags": [], "not_tags_any": []}, "none x1 x1y1 x2 x2y1 y2"),
        ({"tags": [has("x", "*1")]}, "x1 x1y1"),
        ({"tags": [has("x", "*")]}, "x1 x1y1 x2 x2y1"),
        ({"tags_any": [has("x")], "not_tags": [has("y")]}, "x1 x2"),
        ({"matches": [{"key": "resource_name", "value": "Y1"}]}, "x1y1 x2y1"),
        ({"matches": '[{"key": "resource_name", "value": "one"}]'}, "none"),
        ({"tags": [has("y")], "matches": [{"key": "resource_name", "value": "x2"}]}, "x2y1"),
    ],
)
async def test_streams_are_found_by_their_tags_and_counted(streams, asked, expected):
    assert await find(streams, **asked) == expected.split()
    counted = await streams.call(
        "POST", "stream/resource_instances/action", {"action": "count", **asked}
    )
    assert counted == {"total_count": len(expected.split())}


async def test_what_is_found_comes_in_pages_with_the_whole_number(streams):
    path = "stream/resource_instances/action"
    fields = {"action": "filter", "tags": [has("x")], "limit": "3", "offset": "0"}
    page = await streams.call("POST", path, fields)
    assert [found["resource_name"] for found in page["resources"]] == ["x1", "x1y1", "x2"]
    assert page["total_count"] == 4
    assert page["resources"][1]["tags"] == [tag("x", "1"), tag("y", "1")]
    described = await streams.describe("x1")
    assert page["resources"][0]["resource_id"] == described["stream_id"]
    page = await streams.call("POST", path, {**fields, "offset": "3"})
    assert [found["resource_name"] for found in page["resources"]] == ["x2y1"]
    page = await streams.call("POST", path, {**fields, "offset": "400"})
    assert page == {"resources": [], "total_count": 4}


@pytest.mark.parametrize("which", ["tags", "tags_any", "not_tags", "not_tags_any"])
@pytest.mark.parametrize(
    "filters",
    [
        [{"values": ["1"]}],
        [has("")],
        [has("k" * 37)],
        [has("a b")],
        [has(f"k{number}") for number in range(11)],
        [has("k", *"0123456789a")],
        [has("k", 5)],
        {"key": "k"},
        ["k"],
    ],
)
async def test_a_filter_that_breaks_a_rule_is_refused(dis, which, filters):
    for action in ("filter", "count"):
        fields = {"action": action, which: filters}
        await dis.refused("DIS.4200", "POST", "stream/resource_instances/action", fields)


async def test_keys_and_values_of_a_filter_are_unique_but_in_tags(streams):
    twice = [[has("x"), has("x")], [has("x", "1", "1")]]
    for filters in twice:
        assert await find(streams, tags=filters)
        for which in ("tags_any", "not_tags", "not_tags_any"):
            fields = {"action": "filter", which: filters}
            await streams.refused("DIS.4200", "POST", "stream/resource_instances/action", fields)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "x"},
        {"offset": "-1"},
        {"offset": "1.5"},
        {"matches": [{"key": "resource_id", "value": "x"}]},
        {"matches": "x"},
        {"matches": [{"key": "resource_name"}]},
    ],
)
async def test_a_page_or_a_match_that_cannot_be_is_refused(dis, wrong):
    fields = {"action": "filter", **wrong}
    await dis.refused("DIS.4200", "POST", "stream/resource_instances/action", fields)
