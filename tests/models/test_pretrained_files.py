"""Files of weights by path and by a hub's name: what is found and downloaded, and what is refused."""

import hashlib
import http.server
import sys
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from safetensors.numpy import save

from fsjax.errors import UserError
from fsjax.models import pretrained

# Any file of weights: these are not looked into here.
CONTENT = save({"bn1.bias": np.arange(40, dtype=np.float32)})


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".PTH", ".npz"])
def test_pickles_are_refused_before_they_are_opened(suffix, tmp_path):
    path = tmp_path / f"resnet50{suffix}"
    path.write_bytes(b"\x80\x04K\x01.")
    message = (
        r"pickle.*only .safetensors is read.*save_file\(torch.load\('resnet50.*weights_only=True\), 'resnet50.safet"
    )
    with pytest.raises(UserError, match=message):
        pretrained.find(str(path))


def test_files_that_are_not_there(tmp_path):
    for name in (tmp_path / "none.safetensors", "weights.safetensors", "one/two/three"):
        with pytest.raises(UserError, match=f"{name}: there is no such file; give .* or a hub's name such as timm/"):
            pretrained.find(str(name))
    with pytest.raises(UserError, match=r"is a folder; give the path of a .safetensors file"):
        pretrained.find(str(tmp_path))


def test_files_that_are_damaged(tmp_path):
    path = tmp_path / "weights.safetensors"
    for content in (b"", b"\x80\x04K\x01.", CONTENT[:20], CONTENT[:-1]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{path} is no .safetensors file, or is damaged or cut off"):
            pretrained.shapes(pretrained.find(str(path)))
    path.unlink()
    with pytest.raises(UserError, match=f"{path} cannot be read: No such file"):
        pretrained.shapes(path)


def test_what_a_file_holds(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(CONTENT)
    (name, stored), *others = pretrained.shapes(path).items()
    assert (name, stored.shape, stored.dtype, others) == ("bn1.bias", (40,), "float32", [])
    np.testing.assert_array_equal(pretrained.read(path, [name])[name], np.arange(40))
    assert pretrained.sha256(path) == hashlib.sha256(CONTENT).hexdigest()


def test_a_file_goes_before_a_hub_s_name(tmp_path, monkeypatch):
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "resnet50.tv_in1k").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    assert pretrained.find("timm/resnet50.tv_in1k") == Path("timm/resnet50.tv_in1k")


class Hub(http.server.BaseHTTPRequestHandler):
    """What the Hugging Face hub answers for `one/resnet`, its branch `other`, and `one/vit`; nothing else is there."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self):
        content = self.files.get(self.path)
        known = ("/one/resnet/resolve/main/", "/one/resnet/resolve/other/", "/one/vit/resolve/main/")
        there = self.path.startswith(known)
        missing = "EntryNotFound" if there else "RepoNotFound"
        missing = "RevisionNotFound" if self.path.startswith("/one/resnet/resolve/none/") else missing
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", missing)
            self.send_header("X-Error-Message", missing)
        self.send_header("X-Repo-Commit", hashlib.sha1(self.path.rpartition("/")[0].encode()).hexdigest())
        self.send_header("ETag", f'"{hashlib.sha1(content or b"").hexdigest()}"')
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(self.files.get(self.path, b""))

    def log_message(self, *_):
        pass


FIND = """
import sys
from fsjax.errors import UserError
from fsjax.models import pretrained
for name in sys.argv[1:]:
    try:
        print("found", pretrained.sha256(pretrained.find(name)))
    except UserError as error:
        print(error)
"""


@pytest.fixture
def found_on(python, tmp_path):
    """Look names up on the hub of this address, in a process of its own: the sums of the files, or the errors."""

    def find(address, *names, offline=False):
        environment = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": str(int(offline))}
        return python("-c", FIND, *names, **environment).stdout.splitlines()

    return find


def test_weights_are_downloaded_by_a_hub_s_name(found_on):
    """From a server that answers as the hub does; then without it, from what was downloaded."""
    contents = {"main": CONTENT, "other": CONTENT + b"other"}
    Hub.files.update({f"/one/resnet/resolve/{name}/model.safetensors": content for name, content in contents.items()})
    sums = {revision: f"found {hashlib.sha256(content).hexdigest()}" for revision, content in contents.items()}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        found = found_on(address, "one/resnet", "hf://one/resnet@other", "one/resnet@none", "one/vgg")
        server.shutdown()
    assert found[:2] == [sums["main"], sums["other"]]
    where = "nor can it be had from the Hugging Face hub"
    assert found[2] == f"there is no file one/resnet@none, {where}: the model has no revision 'none'"
    assert found[3] == f"there is no file one/vgg, {where}: it has no such model, or not for everyone"
    # Without a network huggingface_hub tries five times, for 20 seconds, unless it is told so.
    found = found_on(address, "one/resnet", "one/vgg", offline=True)
    assert found[0] == sums["main"]
    assert f"no file one/vgg, {where}: it cannot be reached, and the model's model.safetensors is not in" in found[1]


OPEN = """
import sys
import numpy as np
import fsjax
from fsjax.errors import UserError
for name in sys.argv[1:]:
    try:
        run = fsjax.network(name)
        print(run.embed(np.zeros((1, *run.info.image_shape), np.uint8)).tolist())
    except UserError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_network_in_parts_is_downloaded_by_a_hub_s_name(python, root, tmp_path):
    """config.json, what it says of pictures, the index and its two files; then the same without the server."""
    folder = root / "tests" / "vectors" / "transformers" / "bfloat16"
    files = [path for path in folder.iterdir() if path.name != "outputs.npz"]
    assert sum(path.suffix == ".safetensors" for path in files) == 2
    Hub.files.update({f"/one/vit/resolve/main/{path.name}": path.read_bytes() for path in files})
    names, environment = ("hf://one/vit", "hf://one/vgg"), {"HF_HOME": str(tmp_path / "hub")}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
        found = python("-c", OPEN, *names, str(folder), **environment).stdout.splitlines()
        server.shutdown()
    assert found[0] == found[2] and found[0].startswith("[[")
    assert "there is no file hf://one/vgg, nor can it be had" in found[1]
    again = python("-c", OPEN, *names, HF_HUB_OFFLINE="1", **environment).stdout.splitlines()
    assert again[0] == found[0] and "it cannot be reached" in again[1]


def test_names_that_no_model_has():
    for name in ("hf://resnet50", "hf://one/two/three", "hf://"):
        with pytest.raises(
            UserError, match=f"{name}: a hub's name is owner/model or owner/model@revision, such as hf://"
        ):
            pretrained.find(name)


def test_a_hub_s_name_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        UserError, match=r"no such file; to download .* install huggingface_hub: pip install 'fsjax\[hub\]'"
    ):
        pretrained.find("timm/resnet50.tv_in1k")
