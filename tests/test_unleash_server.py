"""The real Unleash of the tests does what the tests need of it."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.unleash_server import RunningUnleash, start_unleash, unleash_available


async def test_a_flag_goes_on_and_off_in_one_environment_only(unleash: RunningUnleash) -> None:
    await unleash.create_flag("switched")
    await unleash.set_flag("switched", "production", enabled=True)
    assert await unleash.is_enabled("switched", "production")
    assert not await unleash.is_enabled("switched", "development")
    await unleash.set_flag("switched", "production", enabled=False)
    assert not await unleash.is_enabled("switched", "production")


async def test_an_archived_flag_can_not_be_switched(unleash: RunningUnleash) -> None:
    await unleash.create_flag("archived")
    await unleash.archive_flag("archived")
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await unleash.set_flag("archived", "production", enabled=True)
    assert caught.value.status == 400


async def test_each_environment_has_its_own_backend_token(unleash: RunningUnleash) -> None:
    await unleash.create_flag("seen")
    await unleash.set_flag("seen", "development", enabled=True)
    assert await flag_as_seen_by_applications(unleash, "seen", "development")
    assert not await flag_as_seen_by_applications(unleash, "seen", "production")


async def test_concurrent_switches_all_succeed(unleash: RunningUnleash) -> None:
    names = [f"concurrent-{number}" for number in range(20)]
    await asyncio.gather(*map(unleash.create_flag, names))
    await asyncio.gather(*(unleash.set_flag(name, "production", enabled=True) for name in names))
    assert all([await unleash.is_enabled(name, "production") for name in names])


@pytest.mark.xdist_group("unleash")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans by itself")
@pytest.mark.parametrize("way_to_end", ["stop", "kill"])
async def test_no_server_outlives_its_test(way_to_end: str, tmp_path: Path) -> None:
    if reason := unleash_available():
        pytest.skip(reason)
    if way_to_end == "stop":
        before = set(psutil.Process().children())
        server = await start_unleash(tmp_path)
        processes = set(psutil.Process().children()) - before
        server.stop()
    else:
        starter = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STARTER, str(tmp_path), stdout=subprocess.PIPE
        )
        assert starter.stdout is not None
        assert await starter.stdout.readline() == b"started\n"
        processes = set(psutil.Process(starter.pid).children())
        os.kill(starter.pid, signal.SIGKILL)
        await starter.wait()
    assert len(processes) == 2
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert not alive


STARTER = """
import asyncio, pathlib, sys, time
from tests.unleash_server import start_unleash
server = asyncio.run(start_unleash(pathlib.Path(sys.argv[1])))
print("started", flush=True)
time.sleep(60)
"""


async def flag_as_seen_by_applications(
    unleash: RunningUnleash, name: str, environment: str
) -> bool:
    token = unleash.backend_tokens[environment]
    async with (
        aiohttp.ClientSession(headers={"Authorization": token}, raise_for_status=True) as session,
        session.get(f"{unleash.url}/api/client/features") as answer,
    ):
        features = (await answer.json())["features"]
    return any(feature["name"] == name and feature["enabled"] for feature in features)
