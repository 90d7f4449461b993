"""Scripts that a device's Python is given to run, each with its arguments; every one prints one JSON document.

They need the standard library alone, and change nothing but edgeclip's own folder.
"""

# Arguments: none. What is here, and where may edgeclip keep its files?
LOOK = """
import importlib.util, json, os, platform, shutil, sys
base = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "edgeclip")
for folder in ("blobs", "jobs"):
    os.makedirs(os.path.join(base, folder), mode=0o700, exist_ok=True)
missing = [m for m in ("onnxruntime", "numpy", "PIL") if importlib.util.find_spec(m) is None]
own = importlib.util.find_spec("edgeclip") is not None
print(json.dumps({"python": sys.version_info[:2], "missing": missing, "base": base, "edgeclip": own,
                  "free": shutil.disk_usage(base).free}))
"""

# Arguments: the folder of blobs, then hashes. How much of each is here? A whole blob has its hash's name.
HAVE = """
import json, os, sys
folder, names = sys.argv[1], sys.argv[2:]
def size(name):
    path = os.path.join(folder, name)
    return os.path.getsize(path) if os.path.exists(path) else None
print(json.dumps({name: {"whole": size(name) is not None, "part": size(name + ".part") or 0} for name in names}))
"""

# Arguments: the folder of blobs, a hash. Is what was sent what was meant? Then it gets its name; else it is removed.
FINISH = """
import hashlib, json, os, sys
path = os.path.join(*sys.argv[1:3])
digest = hashlib.sha256()
with open(path + ".part", "rb") as file:
    for block in iter(lambda: file.read(1 << 20), b""):
        digest.update(block)
good = digest.hexdigest() == sys.argv[2]
if good:
    os.replace(path + ".part", path)
else:
    os.remove(path + ".part")
print(json.dumps({"good": good}))
"""

# Arguments: a folder to make.
MAKE = """
import json, os, sys
os.makedirs(sys.argv[1], mode=0o700, exist_ok=True)
print(json.dumps({}))
"""

# Arguments: a job's folder to remove, and the folder of blobs. How many bytes stay for the next time?
CLEAN = """
import json, os, shutil, sys
shutil.rmtree(sys.argv[1], ignore_errors=True)
print(json.dumps({"kept": sum(entry.stat().st_size for entry in os.scandir(sys.argv[2]))}))
"""
