"""docs/python.md and docs/event-bus.md: their programs run, and what they name is there."""

import inspect
import os
import re
import shlex

from conftest import REPOSITORY

from jimbot import mcp
from jimbot.mcp import bus as bus_package
from jimbot.mcp import Reader, client, server
from jimbot.mcp.bus import EventBusClient

PAGE = (REPOSITORY / "docs" / "python.md").read_text()
BUS_PAGE = (REPOSITORY / "docs" / "event-bus.md").read_text()


def blocks(language, page=PAGE):
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def test_the_first_example_runs(writer, shm_dir, capsys):
    writer.write(2, type=4)
    example = blocks("python")[0].replace("/dev/shm/jimbot-mcp", str(shm_dir)).replace("timeout=5", "timeout=0")
    assert "batch.copy()" in example
    exec(compile(example, "docs/python.md", "exec"), {})
    assert capsys.readouterr().out == "1 4\n2 4\n"


def test_the_commands_example_runs(monkeypatch):
    sent = []
    monkeypatch.setattr(mcp, "send_command", lambda *arguments, **named: sent.append((arguments, named)))
    exec(compile(blocks("python")[1], "docs/python.md", "exec"), {})
    assert sent == [(("select_card",), {"position": 3}), (("play_hand",), {"session": 0x2F1C})]


def test_the_shell_lines_become_what_they_say():
    for line in blocks("sh")[0].splitlines():
        command, _, becomes = line.partition("#")
        _, _, module, *arguments = shlex.split(command)
        own = {"jimbot.mcp.server": server, "jimbot.mcp.client": client}[module].arguments(arguments)
        assert " ".join(["jimbot-mcp", *own]).startswith(becomes.strip())


def test_every_argument_is_in_the_table():
    for name in inspect.signature(Reader).parameters:
        assert re.search(rf"^\|.*`{name}\b", PAGE, flags=re.MULTILINE), name


def test_every_name_that_the_page_uses_is_there():
    for name in re.findall(r"`([A-Z]\w+)`", PAGE):
        known = {"None", "Event", "ResourceWarning", "BufferError", "ValueError", *mcp.__all__}
        assert name in known or name.isupper(), name
    for path in re.findall(r"`((?:python|examples|scripts|docs)/[\w./-]+)`", PAGE):
        assert os.path.exists(REPOSITORY / path), path


def test_the_examples_of_the_bus_run(bus, capsys):
    def run(example):
        example = example.replace("http://127.0.0.1:50051", bus.url).replace("timeout=5", "timeout=0.5")
        exec(compile(example, "docs/event-bus.md", "exec"), {})
        return capsys.readouterr().out

    for_threads, for_asyncio = blocks("python", BUS_PAGE)
    assert run(for_threads) == "1 mine\n2\n3\n4\n"
    assert run(for_asyncio) == "1\n"


def test_every_name_of_the_bus_that_the_page_uses_is_there():
    section = BUS_PAGE.partition("## From Python")[2].partition("\n## ")[0]
    for name in re.findall(r"`([A-Z]\w+)`", section):
        assert name in bus_package.__all__ or name.isupper(), name
    named = {*inspect.signature(EventBusClient).parameters, *inspect.signature(EventBusClient.subscribe).parameters}
    for name in re.findall(r"`(\w+)=", section):
        assert name in {*named, "delay"}, name
