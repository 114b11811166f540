"""TLS over real sockets: an authority of the data folder's, or certificates of one's own."""

import asyncio
import stat

import pytest

from aiodis import DISClient
from aiodis.errors import ConfigError, TransportError
from aiodis.server import LocalDIS, StartError
from aiodis.server.fault_outcomes import reset

trustme = pytest.importorskip("trustme")


async def created(settings, name):
    async with DISClient(**settings, retries=0) as dis:
        await dis.streams.create(stream_name=name, partition_count=1)
        async with dis.producer(name) as producer:
            metadata = await producer.send_and_wait(b"over tls")
    return metadata.sequence_number


async def test_a_client_with_the_servers_settings_verifies_it():
    async with LocalDIS(tls=True) as server:
        assert server.endpoint.startswith("https://127.0.0.1:")
        assert await created(server.client_settings, "s") == 0
        ca_file = server.ca_file
        assert ca_file.is_file()
    assert server.ca_file is None
    assert not ca_file.parent.exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_the_certificate_is_for_each_of_this_machines_names(host):
    async with LocalDIS(tls=True) as server:
        settings = server.client_settings
        settings["endpoint"] = settings["endpoint"].replace("127.0.0.1", host)
        await created(settings, "s")


async def test_the_certificate_is_for_ipv6_too():
    async with LocalDIS(tls=True, host="::1") as server:
        assert server.endpoint.startswith("https://[::1]:")
        await created(server.client_settings, "s")


async def test_a_client_that_does_not_know_the_authority_refuses_the_server():
    async with LocalDIS(tls=True) as server, LocalDIS(tls=True) as other:
        settings = server.client_settings
        for wrong in (
            {**settings, "ca_file": other.ca_file},
            {name: value for name, value in settings.items() if name != "ca_file"},
        ):
            with pytest.raises(TransportError, match=r"(?i)certificate"):
                await created(wrong, "s")


async def test_plain_http_gets_no_answer_from_a_tls_server(caplog):
    async with LocalDIS(tls=True) as server:
        settings = server.client_settings
        del settings["ca_file"]
        settings["endpoint"] = settings["endpoint"].replace("https", "http")
        with pytest.raises(TransportError):
            await created(settings, "s")
        await created(server.client_settings, "t")


async def test_a_folders_authority_stays_the_same_and_its_key_is_for_the_owner(tmp_path):
    async with LocalDIS(tmp_path, tls=True) as server:
        settings = server.client_settings
        await created(settings, "s")
        assert server.ca_file == tmp_path / "tls" / "ca.pem"
    known = (tmp_path / "tls" / "ca.pem").read_bytes()
    key = tmp_path / "tls" / "ca.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"PRIVATE" not in known
    async with LocalDIS(tmp_path, tls=True) as server:
        await created({**settings, "endpoint": server.endpoint}, "t")
    assert (tmp_path / "tls" / "ca.pem").read_bytes() == known
    assert sorted(p.name for p in (tmp_path / "tls").iterdir()) == ["ca.key", "ca.pem"]


async def test_an_authority_that_was_not_finished_is_made_again(tmp_path):
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "ca.key").write_text("old")
    (tmp_path / "tls" / "ca.pem.part").write_text("half")
    async with LocalDIS(tmp_path, tls=True) as server:
        await created(server.client_settings, "s")


@pytest.mark.parametrize("damage", ["ca.pem", "ca.key"])
async def test_a_damaged_authority_is_a_start_that_fails(tmp_path, damage):
    async with LocalDIS(tmp_path, tls=True):
        pass
    (tmp_path / "tls" / damage).write_text("nonsense")
    with pytest.raises(StartError, match="authority"):
        await LocalDIS(tmp_path, tls=True).start()
    async with LocalDIS(tmp_path) as server:
        assert server.ca_file is None


async def test_certificates_of_ones_own_are_used(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    made = authority.issue_cert("127.0.0.1")
    cert, key, both = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "both.pem"
    made.cert_chain_pems[0].write_to_path(cert)
    made.private_key_pem.write_to_path(key)
    made.private_key_and_cert_chain_pem.write_to_path(both)
    for files in ({"tls_cert": cert, "tls_key": key}, {"tls_cert": str(both)}):
        async with LocalDIS(**files) as server:
            assert server.endpoint.startswith("https://")
            assert "ca_file" not in server.client_settings
            await created({**server.client_settings, "ca_file": tmp_path / "ca.pem"}, "s")


async def test_bad_certificates_are_a_start_that_fails_and_a_key_alone_is_a_mistake(tmp_path):
    (tmp_path / "bad.pem").write_text("nonsense")
    for file in ("bad.pem", "missing.pem"):
        with pytest.raises(StartError, match=file):
            await LocalDIS(tls_cert=tmp_path / file).start()
    with pytest.raises(ConfigError, match="tls_cert"):
        LocalDIS(tls_key=tmp_path / "bad.pem")


async def test_an_encrypted_key_fails_at_once_instead_of_asking(tmp_path):
    from cryptography.hazmat.primitives import serialization as forms

    made = trustme.CA().issue_cert("127.0.0.1")
    key = forms.load_pem_private_key(made.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.BestAvailableEncryption(b"x")
    )
    (tmp_path / "key.pem").write_bytes(encrypted)
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    server = LocalDIS(tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    with pytest.raises(StartError, match=r"key\.pem"):
        await asyncio.wait_for(server.start(), 5)


async def test_a_reset_on_purpose_breaks_a_connection_with_tls_too():
    async with LocalDIS(tls=True) as server:
        server.faults.push("streams.list", outcome=reset())
        async with DISClient(**server.client_settings, retries=0) as dis:
            with pytest.raises(TransportError):
                await dis.streams.list()
            assert (await dis.streams.list()).total_number == 0
        server.faults.assert_exhausted()
