"""The page that shows what a picture is: a folder of files, which a service or an export completes.

All of it is written by hand, in modules that browsers load as they are. `engine.js` says who answers: in a
service `remote.js`, in an export `local.js` with what it loads.
"""

from pathlib import Path

FILES = Path(__file__).with_name("files")
SERVICE_WORKER = "service_worker.js"  # an export writes a line before it
OF_SERVICE = frozenset({"remote.js"})
OF_EXPORT = frozenset(
    {
        *("local.js", "offline.js", "worker.js", "pixels.js", "sniff.js", "answer.js"),
        *(SERVICE_WORKER, "licences.txt"),
    }
)
