"""Apps, checkpoints and consumer groups (reference 5.2 and 5.3; facts 6.3 and 6.4)."""

import re

from stream_model import number_of, page, shard
from told import Is, No, Opaque, Unordered

SILENCE_MS = 60_000
WINDOW_MS = 20_000  # guess DEFAULT_REBALANCE_MS


class App:
    """An app with its checkpoints: (stream, partition number) -> (number, metadata)."""

    def __init__(self, name, now):
        self.name, self.id, self.created_ms = name, Opaque(), now
        self.checkpoints = {}


class Apps:
    """The chapters 5.2 and 5.3."""

    def apps_create(self, ask):
        if ask["app_name"] in self.apps:
            raise No("4330")
        if len(self.apps) >= self.quotas["app"]:
            self.note("002", None)
            raise No("4329")
        self.apps[ask["app_name"]] = App(ask["app_name"], self.now)

    def apps_list(self, ask):
        if "stream_name" in ask:
            self.stream(ask)
        named = {
            name
            for name, app in self.apps.items()
            if "stream_name" not in ask or ask["stream_name"] in self._streams_of(app)
        }
        names, more = page(named, ask.get("start_app_name"), ask.get("limit") or 10)
        shown = [self._shown_app(self.apps[name]) for name in names]
        return {"has_more_app": more, "apps": shown, "total_number": len(named)}

    @staticmethod
    def _streams_of(app):
        return {stream for stream, _ in app.checkpoints}

    def _shown_app(self, app):
        return {
            "app_name": app.name,
            "app_id": app.id,
            "create_time": app.created_ms,
            "commit_checkpoint_stream_names": Unordered(self._streams_of(app)),
        }

    def apps_describe(self, ask):
        return self._shown_app(self.app(ask))

    def apps_delete(self, ask):
        app = self.app(ask)
        if self.group(app.name).members:
            raise No("4331")
        del self.apps[app.name]
        self.groups_by_app[app.name] = Group(self.group(app.name).generation)

    def apps_describe_state(self, ask):
        no = self._missing(ask)
        if no:
            raise No(*no)
        app, stream = self.app(ask), self.stream(ask)
        start = number_of(ask["start_partition_id"]) if "start_partition_id" in ask else -1
        readable = stream.of_status(self.now, "ACTIVE", "DELETED")
        rest = [p for p in readable if p.number > start]
        most = ask.get("limit") or 100
        return {
            "stream_name": stream.name,
            "app_name": app.name,
            "has_more": len(rest) > most,
            "partition_consuming_states": [
                {
                    "partition_id": shard(p.number),
                    # guess STATE_WITHOUT_COMMITS
                    "sequence_number": app.checkpoints.get((stream.name, p.number), (-1, None))[0],
                    "latest_offset": p.end,
                    "earliest_offset": stream.first(p, self.now),
                    "checkpoint_type": "LAST_READ",
                }
                for p in rest[:most]
            ],
        }

    def app(self, ask):
        name = ask["app_name"] if "app_name" in ask else ask["groupId"]
        if name not in self.apps:
            raise No("4332")
        return self.apps[name]

    def _missing(self, ask):
        return {
            code
            for code, gone in [
                ("4332", ask["app_name"] not in self.apps),
                ("4301", ask["stream_name"] not in self.streams),
            ]
            if gone
        }

    def checkpoints_commit(self, ask):
        no = self._missing(ask)
        if not no and number_of(ask["partition_id"]) >= len(self.stream(ask).partitions):
            no.add("4302")
        if "client_id" in ask and ask["app_name"] in self.apps:
            no |= self.group(ask["app_name"]).refusals(ask["client_id"], ask["generation_id"])
        if no:
            raise No(*no)
        place = (ask["stream_name"], number_of(ask["partition_id"]))
        number = int(ask["sequence_number"])  # guess CHECKPOINTS_MAY_GO_BACK
        self.app(ask).checkpoints[place] = (number, ask.get("metadata"))

    def checkpoints_get(self, ask):
        no = self._missing(ask)
        if not no and number_of(ask["partition_id"]) >= len(self.stream(ask).partitions):
            no.add("4302")
        if no:
            raise No(*no)
        place = (ask["stream_name"], number_of(ask["partition_id"]))
        number, metadata = self.app(ask).checkpoints.get(place, (-1, None))
        return {"sequence_number": str(number)} | (
            {} if metadata is None else {"metadata": metadata}
        )

    def checkpoints_delete(self, ask):
        no = self._missing(ask)
        if no:
            raise No(*no)
        app, wanted = self.app(ask), ask.get("partition_id")
        if wanted is not None and number_of(wanted) >= len(self.stream(ask).partitions):
            raise No("4302")
        app.checkpoints = {
            (stream, number): kept
            for (stream, number), kept in app.checkpoints.items()
            if stream != ask["stream_name"] or wanted not in (None, str(number), shard(number))
        }

    # -- Groups ---------------------------------------------------------------------------

    def group(self, name):
        group = self.groups_by_app.setdefault(name, Group())
        group.settle(self)
        return group

    def groups_join(self, ask):
        if ask["groupId"] not in self.apps:
            return {"state": "GROUP_NOT_EXIST", "subscription": Is(lambda _: True), **NO_DELAY}
        interest = Interest(ask)
        if not interest.is_known(self):
            return {"state": "ERR_SUBSCRIPTION", "subscription": Is(lambda _: True), **NO_DELAY}
        delay = self.group(ask["groupId"]).join(ask, interest, self)
        return {
            "state": "OK",
            "subscription": Unordered(interest.keys(self)),
            "syncDelayedTimeMs": delay,
        }

    def groups_sync(self, ask):
        if ask["groupId"] not in self.apps:
            return {"state": "GROUP_NOT_EXIST", "generation": -1, "assignment": {}}
        return self.group(ask["groupId"]).sync(ask["clientId"], self)

    def groups_heartbeat(self, ask):
        if ask["groupId"] not in self.apps:
            return {"state": "GROUP_NOT_EXIST"}
        group = self.group(ask["groupId"])
        return {"state": group.beat(ask["clientId"], ask.get("generation", -1), self.now)}

    def groups_leave(self, ask):
        self.app(ask)
        self.group(ask["groupId"]).leave(ask["clientId"], self.now)


NO_DELAY = {"syncDelayedTimeMs": Is(lambda _: True)}


class Interest:
    """What a member wants to read: streams by name, by id, or by a pattern."""

    def __init__(self, ask):
        self.names = ask.get("interestedStream")
        self.ids = ask.get("interestedStreamIdList")
        self.pattern = ask.get("streamPattern")

    def is_known(self, model):
        if self.names is not None:
            return bool(self.names) and set(self.names) <= set(model.streams)
        if self.ids is not None:
            known = {stream.id.value for stream in model.streams.values()} - {None}
            return bool(self.ids) and set(self.ids) <= known
        return self.pattern is not None

    def streams(self, model):
        """The streams, by what an assignment calls them."""
        if self.names is not None:
            return {name: model.streams[name] for name in self.names if name in model.streams}
        if self.ids is not None:
            return {s.id.value: s for s in model.streams.values() if s.id.value in self.ids}
        return {n: s for n, s in model.streams.items() if re.fullmatch(self.pattern, n)}

    def keys(self, model):
        return list(self.streams(model))

    def readable(self, model, now):
        """All (stream object, partition number) that it asks for."""
        return {
            (stream, p.number)
            for stream in self.streams(model).values()
            for p in stream.of_status(now, "ACTIVE", "DELETED")
        }


class Member:
    """What the group knows of a member."""

    def __init__(self):
        self.interest = self.window_ms = self.hurries = None
        self.alive_ms = 0
        self.has_joined = False  # in the window that is open
        self.has_synced = False


class Group:
    """Members, a generation, and perhaps an open window to join (docs/service/guesses.md)."""

    def __init__(self, generation=0):
        self.generation = generation
        self.is_first = generation > 0  # after a start: whoever was there before it is unknown
        self.members = {}
        self.closes_ms = None  # while a window is open
        self.seen = {}  # partition -> the owner of this generation, as they were told
        self.shared = set()

    def settle(self, model):
        """Let happen what was due by now, each at its own time."""
        while True:
            due = []
            if self.closes_ms is not None:
                due.append((self.closes_ms, "late", None))
            due += [(m.alive_ms + SILENCE_MS, "dead", name) for name, m in self.members.items()]
            at, what, name = min(due, default=(None, None, None), key=lambda d: d[:2])
            if at is None or at > model.now:
                break
            if what == "late":
                self.close(at, model)
            else:
                self.leave(name, at)
        if self.members and self.closes_ms is None and self.wanted(model, model.now) - self.shared:
            self.open(model.now)  # guess A_SCALING_REBALANCES

    def wanted(self, model, now):
        return set().union(*(m.interest.readable(model, now) for m in self.members.values()))

    def open(self, now):
        self.closes_ms = now + max(m.window_ms for m in self.members.values())
        for member in self.members.values():
            member.has_joined = False

    def close(self, at, model):
        # guess LATE_MEMBERS_ARE_OUT
        self.members = {name: m for name, m in self.members.items() if m.has_joined}
        self.closes_ms, self.is_first = None, False
        self.generation += bool(self.members)
        self.seen, self.shared = {}, self.wanted(model, at)
        for member in self.members.values():
            member.has_synced = False

    def join(self, ask, interest, model):
        member = self.members.setdefault(ask["clientId"], Member())
        member.interest = interest
        asked = ask.get("rebalanceTimeoutMs")
        member.window_ms = WINDOW_MS if asked is None else asked
        member.hurries = bool(ask.get("accelerateAssignEnabled"))
        if self.closes_ms is None:
            self.open(model.now)
        member.has_joined = True
        everybody = all(m.has_joined and m.hurries for m in self.members.values())
        if everybody and not self.is_first:  # guess ACCELERATION_ENDS_THE_WINDOW
            self.close(model.now, model)
            delay = 0
        else:
            delay = max(0, self.closes_ms - model.now)
        member.alive_ms = model.now + delay
        return delay

    def sync(self, name, model):
        member = self.members.get(name)
        if member is None or not member.has_joined:
            return {"state": "REJOIN", "generation": -1, "assignment": {}}
        member.alive_ms = max(member.alive_ms, model.now)
        if self.closes_ms is not None:
            return {"state": "WAITING", "generation": -1, "assignment": {}}
        member.has_synced = True
        return {
            "state": "OK",
            "generation": self.generation,
            "assignment": Is(lambda found: self._is_fair(found, name, model), "a fair share"),
        }

    def _is_fair(self, found, name, model):
        """Whether a share is part of what was asked for, and nobody else's, and not too large."""
        streams = self.members[name].interest.streams(model)
        mine = {(streams[key], number) for key, numbers in found.items() for number in numbers}
        # A stream made anew under its name is another one, and rebalances.
        wanted = self.members[name].interest.readable(model, model.now)
        if any(self.seen.setdefault(place, name) != name for place in mine):
            return False
        if {place for place, owner in self.seen.items() if owner == name} != mine:
            return False
        if not (mine <= self.shared and len(mine) == sum(map(len, found.values()))):
            return False
        others = [m for other, m in self.members.items() if other != name]
        alike = all(m.interest.readable(model, model.now) == wanted for m in others)
        count, members = len(self.shared), len(self.members)
        return not alike or count // members <= len(mine) <= -(-count // members)

    def beat(self, name, generation, now):
        member = self.members.get(name)
        if member is None:
            return "JOINING"
        if member.has_synced and generation != self.generation:
            return "JOINING"  # one of before, of the same name: no sign of life of this one
        member.alive_ms = max(member.alive_ms, now)
        if not member.has_joined:
            return "JOINING"
        # guess STABLE_IS_A_MEMBERS_STATE
        return "STABLE" if member.has_synced and self.closes_ms is None else "SYNCING"

    def leave(self, name, now):
        if self.members.pop(name, None) is None:
            return
        if not self.members:
            self.closes_ms = None
        elif self.closes_ms is None:
            self.open(now)

    def refusals(self, name, generation):
        """The codes that a commit of a member gets (facts 6.4)."""
        member = self.members.get(name)
        if member is None:
            return {"4702"}
        if generation != self.generation:
            return {"4703"}
        # An open window too (guess A_WINDOW_TAKES_COMMITS).
        return set() if member.has_synced else {"4701"}
