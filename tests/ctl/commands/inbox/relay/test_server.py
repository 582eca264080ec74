"""The connection to a server that asks for credentials: those of a file, another user's, and a file that has none."""

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dreamd.ctl.commands.inbox.relay.server import Place, ServerRefused, connect_server
from tests.helpers.nats_server import NatsServer, need_nats

WITHOUT_LIMITS = dict.fromkeys(("subs", "conn", "imports", "exports", "data", "payload"), -1) | {
    "wildcards": True
}


def make_keys(prefix: int) -> tuple[Any, str]:
    """Return a pair of keys and its seed."""
    import nkeys

    seed = nkeys.encode_seed(os.urandom(32), prefix)
    return nkeys.from_seed(seed), seed.decode()


def make_token(issuer: Any, subject: Any, kind: str, rights: dict[str, Any]) -> str:
    """Return a JSON Web Token as servers of NATS take them."""

    def encoded(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims: dict[str, Any] = {
        "iat": 1_700_000_000, "iss": issuer.public_key.decode(), "sub": subject.public_key.decode(), "name": kind,
        "nats": {**rights, "type": kind, "version": 2},
    }  # fmt: skip
    claims["jti"] = (
        base64.b32encode(hashlib.sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
    )
    body = f"{encoded({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{encoded(claims)}"
    return f"{body}.{base64.urlsafe_b64encode(issuer.sign(body.encode())).rstrip(b'=').decode()}"


def write_creds(file: Path, token: str, seed: str) -> Path:
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    return file


async def test_a_file_with_credentials_opens_the_server_and_others_are_refused(tmp_path: Path) -> None:
    need_nats()
    nkeys = pytest.importorskip("nkeys", reason="no nkeys here: pip install nats-py[nkeys]")
    operator, account, system = (
        make_keys(prefix)[0]
        for prefix in (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_ACCOUNT)
    )
    accounts = {
        each.public_key.decode(): make_token(operator, each, "account", {"limits": WITHOUT_LIMITS})
        for each in (account, system)
    }
    (tmp_path / "server.conf").write_text(
        f'operator: "{make_token(operator, operator, "operator", {})}"\nresolver: MEMORY\n'
        f"system_account: {system.public_key.decode()}\nresolver_preload: {json.dumps(accounts)}\n"
    )
    user, seed = make_keys(nkeys.PREFIX_BYTE_USER)
    token = make_token(account, user, "user", dict.fromkeys(("subs", "data", "payload"), -1))
    good = write_creds(tmp_path / "good.creds", token, seed)
    stolen = write_creds(tmp_path / "stolen.creds", token, make_keys(nkeys.PREFIX_BYTE_USER)[1])
    (tmp_path / "empty.creds").write_text("nothing\n")
    server = NatsServer(tmp_path / "jetstream", "-c", str(tmp_path / "server.conf"))
    try:
        async with connect_server(Place(server.url, str(good))) as client:
            await client.flush()
        for creds, said in (
            (str(stolen), "refuses these credentials"),
            (str(tmp_path / "empty.creds"), "empty.creds: it does not hold what it should"),
            (str(tmp_path / "none.creds"), "none.creds: No such file or directory"),
            (None, "refuses these credentials"),
        ):
            with pytest.raises(ServerRefused, match=said):
                async with connect_server(Place(server.url, creds)):
                    pass
    finally:
        server.kill()
