"""The program of docs/api.md, run as it stands there, prints what stands there."""

import re
from pathlib import Path

import trio
from receivers import answer, open_receiver
from snippets import ROOT, needs, program_environment, snippets
from web_process import TOKEN, serving


async def test_the_tour_prints_what_the_page_says(tmp_path: Path) -> None:
    needs("bash", "curl", "jq")
    page = (ROOT / "docs" / "api.md").read_text()
    behind = page.partition("<!-- snippet: api_tour.sh -->")[2].partition("\n```\n")[2]
    expected = re.match(r"\nIt prints\n\n((?:    .*\n)+)", behind)
    assert expected is not None
    (tmp_path / "subscriptions.d").mkdir()
    file = {
        "include": "subscriptions.d/*.yaml",
        "allow_networks": ["127.0.0.0/8"],
        "subscriptions": {},
    }
    (tmp_path / "tour").mkdir()
    async with (
        open_receiver(*[answer(200)] * 3) as receiver,
        serving(tmp_path, file=file) as web,
    ):
        done = await trio.run_process(
            ["bash", "-c", snippets()["api_tour.sh"]],
            cwd=tmp_path / "tour",
            env=program_environment(
                {
                    "RELAYD_URL": str(web.private.base_url).rstrip("/"),
                    "RELAYD_TOKEN": TOKEN,
                    "HOOK_URL": receiver.url,
                }
            ),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        printed = "".join(f"    {line}\n" for line in done.stdout.decode().splitlines())
        assert printed == expected[1]
    assert (tmp_path / "tour" / "shop-secret").read_text().startswith("whsec_")
    assert len(receiver.requests) >= 2, "the sample, and the event"
