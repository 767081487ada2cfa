#!/usr/bin/env python3
"""A program that does what the script in its prompt says: any agent that is neither known nor talkative."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    prompt = sys.stdin.read()
    found = re.search(r"MOCK\[\[\s*(?=\[)", prompt)
    steps = json.JSONDecoder().raw_decode(prompt, found.end())[0] if found else []
    for step in steps:
        time.sleep(step.get("delay", 0))
        if fail := step.get("fail"):
            tries = Path(os.environ["PLAYER_TRIES"] + os.environ["PRODIGY_ITEM_ID"])
            count = int(tries.read_text()) + 1 if tries.exists() else 1
            tries.write_text(str(count))
            if fail.get("times", -1) < 0 or count <= fail["times"]:
                retry = fail.get("headers", {}).get("retry-after")
                when = f" Please try again in {retry}s." if retry else ""
                sys.stderr.write(f"error {fail['status']}: {fail.get('message', 'mock')}.{when}\n")
                return 1
        if "sh" in step:
            subprocess.run(["bash", "-c", step["sh"]], check=False)
        if "text" in step:
            sys.stdout.write(step["text"] + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
