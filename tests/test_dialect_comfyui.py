"""ComfyUI's protocol over HTTP and WebSocket against a served studio."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dialect_studio import make_backend, make_png, serve_dialects
from fakes import draw_fake_image
from PIL import Image
from serving import PASSWORDS, RunningStudio, wait_until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from studio.api.dialects.comfyui.executions import MAX_SOCKETS_OF_USER, Sockets
from studio.api.dialects.comfyui.graph_checks import MAX_GRAPH
from studio.api.dialects.comfyui.user_files import UserFiles, clean_folder, clean_name
from studio.core.errors import ModelBroken
from studio.core.request_choices import MaskedContent
from studio.core.task import Task
from studio.engine.api_tokens import TokenScope
from studio.pipelines.run.edit_tasks import Edit, EditMode
from studio.pipelines.run.hires import compute_hires_steps
from studio.pipelines.run.image_to_image import compute_edit_steps
from studio.pipelines.run.masks import Canvas

GRAPH: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "fake.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red apple", "clip": ["1", 1]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["1", 1]}},
    "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "5": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "seed": 5,
            "steps": 4,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "karras",
            "positive": ["2", 0],
            "negative": ["3", 0],
            "latent_image": ["4", 0],
            "denoise": 1.0,
        },
    },
    "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
    "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "dream"}},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_dialects(tmp_path_factory.mktemp("comfyui"), preview_interval=0.1) as found:
        yield found


@pytest.fixture
def client(served: RunningStudio) -> httpx.Client:
    return served.open_client()


def change(**nodes: Any) -> dict[str, Any]:
    """The graph with nodes, named n8 for 8, in the place of its own or beside them; inputs are merged."""
    graph = copy.deepcopy(GRAPH)
    for name, (kind, inputs) in nodes.items():
        old = graph.get(name[1:], {"inputs": {}})
        merged = {**old["inputs"], **inputs} if old.get("class_type") == kind else inputs
        graph[name[1:]] = {"class_type": kind, "inputs": merged}
    return graph


def run(client: httpx.Client, graph: dict[str, Any], **body: Any) -> dict[str, Any]:
    """The history of a graph that was carried out."""
    answer = client.post("/prompt", json={"prompt": graph, **body})
    assert answer.status_code == 200, answer.text
    name = answer.json()["prompt_id"]
    wait_until(lambda: client.get(f"/history/{name}").json())
    found: dict[str, Any] = client.get(f"/history/{name}").json()[name]
    return found


def upload(client: httpx.Client, name: str, data: bytes, **fields: str) -> dict[str, str]:
    answer = client.post("/upload/image", files={"image": (name, data, "image/png")}, data=fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, str] = answer.json()
    return found


def test_a_graph_gives_its_image_under_comfyuis_name(client: httpx.Client, served: RunningStudio) -> None:
    history = run(client, GRAPH, extra_data={"extra_pnginfo": {"workflow": {"nodes": []}}})
    assert history["status"]["status_str"] == "success"
    assert history["status"]["completed"] is True
    (file,) = history["outputs"]["7"]["images"]
    assert file == {"filename": "dream_00001_.png", "subfolder": "", "type": "output"}
    answer = client.get("/view", params=file)
    assert answer.headers["Content-Disposition"] == 'filename="dream_00001_.png"'
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.tobytes() == draw_fake_image(5, 64, 64).tobytes()
        assert json.loads(image.info["prompt"]) == GRAPH
        assert json.loads(image.info["workflow"]) == {"nodes": []}
    request, _ = served.backend.seen[-1]
    assert (request.prompt, request.negative_prompt) == ("a red apple", "blurry")
    assert (request.sampler, request.schedule, request.steps, request.guidance) == ("Euler", "Karras", 4, 7.0)
    assert run(client, GRAPH)["outputs"]["7"]["images"][0]["filename"] == "dream_00002_.png"


def test_the_socket_tells_every_stage_to_the_submitting_client_alone(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, preview_interval=0.1, backend=make_backend(held=True)) as served:
        client, address = served.open_client(), served.url.replace("http", "ws")
        with connect(f"{address}/ws?clientId=mine") as mine, connect(f"{address}/ws?clientId=other") as other:
            first = json.loads(mine.recv(10))
            assert (first["type"], first["data"]["sid"]) == ("status", "mine")
            answer = client.post("/api/prompt", json={"prompt": GRAPH, "client_id": "mine", "prompt_id": "my-own-id"})
            assert answer.json() == {"prompt_id": "my-own-id", "number": 1, "node_errors": {}}
            served.backend.release(10)
            kinds, previews = [], 0
            while True:
                message = mine.recv(20)
                if isinstance(message, bytes):
                    assert message[:8] == b"\0\0\0\1\0\0\0\1"
                    previews += Image.open(io.BytesIO(message[8:])).format == "JPEG"
                    continue
                told = json.loads(message)
                kinds.append(told["type"])
                if told["type"] == "executing" and told["data"]["node"] is None:
                    assert told["data"]["prompt_id"] == "my-own-id"
                    break
            order = [kind for kind in dict.fromkeys(kinds) if kind != "status"]
            assert order == [
                "execution_start",
                "execution_cached",
                "executing",
                "progress",
                "progress_state",
                "executed",
                "execution_success",
            ]
            assert previews
            assert {json.loads(other.recv(5))["type"] for _ in range(2)} == {"status"}


def test_a_body_called_text_is_read_too(client: httpx.Client) -> None:
    answer = client.post("/prompt", content=json.dumps({"prompt": GRAPH}), headers={"Content-Type": "text/plain"})
    assert answer.status_code == 200


def test_graphs_of_images_masks_loras_and_upscalers_are_understood(client: httpx.Client, served: RunningStudio) -> None:
    def last() -> Any:
        return served.backend.seen[-1][0]

    name = upload(client, "a.png", make_png())["name"]
    clear = Image.new("RGBA", (64, 64), "red")
    clear.putpixel((3, 3), (0, 0, 0, 0))
    out = io.BytesIO()
    clear.save(out, "PNG")
    masked = upload(client, "masked.png", out.getvalue())["name"]
    encoded = ("VAEEncode", {"pixels": ["8", 0], "vae": ["1", 2]})
    load = ("LoadImage", {"image": name})
    sampler = ("KSampler", {"latent_image": ["9", 0], "denoise": 0.4})
    run(client, change(n8=load, n9=encoded, n5=sampler))
    assert (last().task, last().strength) == (Task.IMG2IMG, 0.4)
    mask = ("VAEEncodeForInpaint", {"pixels": ["8", 0], "vae": ["1", 2], "mask": ["8", 1], "grow_mask_by": 6})
    run(client, change(n8=("LoadImage", {"image": masked}), n9=mask, n5=sampler))
    assert (last().task, last().inpaint.fill) == (Task.INPAINT, MaskedContent.NOISE)
    second = ("KSampler", {**GRAPH["5"]["inputs"], "latent_image": ["8", 0], "denoise": 0.5, "steps": 3})
    larger = ("LatentUpscaleBy", {"samples": ["5", 0], "upscale_method": "nearest-exact", "scale_by": 1.5})
    run(client, change(n8=larger, n9=second, n6=("VAEDecode", {"samples": ["9", 0]})))
    assert (last().hires.scale, last().hires.strength, last().hires.steps) == (1.5, 3 / 6, 3)
    loader = ("UpscaleModelLoader", {"model_name": "RealESRGAN_x4plus.pth"})
    upscale = ("ImageUpscaleWithModel", {"upscale_model": ["8", 0], "image": ["6", 0]})
    run(client, change(n8=loader, n9=upscale, n7=("SaveImage", {"images": ["9", 0]})))
    assert (last().task, last().model) == (Task.UPSCALE, "upscaler/RealESRGAN_x4plus")
    run(client, change(n7=("PreviewImage", {"images": ["6", 0]})))


@pytest.mark.parametrize(
    ("sampler", "steps", "strength"),
    [
        ({"steps": 20, "denoise": 1.0}, 20, 1.0),
        ({"steps": 20, "denoise": 0.6}, 33, 20 / 33),
        ({"steps": 7, "denoise": 0.87}, 8, 7 / 8),
        ({"steps": 20, "denoise": 0.01}, 1000, 0.01),
        ({"steps": 20, "denoise": 0.0}, 20, 0.0),
    ],
)
def test_a_sampler_runs_its_steps_at_the_end_of_a_longer_schedule(
    client: httpx.Client, served: RunningStudio, sampler: dict[str, Any], steps: int, strength: float
) -> None:
    """As ComfyUI does; the studio's own steps are those of the whole schedule, of which `strength` is run."""
    load = ("LoadImage", {"image": upload(client, "a.png", make_png())["name"]})
    encoded = ("VAEEncode", {"pixels": ["8", 0], "vae": ["1", 2]})
    run(client, change(n8=load, n9=encoded, n5=("KSampler", {"latent_image": ["9", 0], **sampler})))
    request = served.backend.seen[-1][0]
    assert (request.steps, request.strength) == (steps, strength)
    edit = Edit(
        request=request,
        way=EditMode.IMAGE,
        strength=strength,
        source=Image.new("RGB", (64, 64)),
        ready=lambda image: Canvas(image=image, finish=lambda drawn: drawn),
    )
    really, total, share = compute_edit_steps(steps, edit)
    if strength > 0.01:
        assert (really, total) == (sampler["steps"], int(sampler["steps"] / sampler["denoise"]))
        assert total * share == really


ADVANCED: dict[str, Any] = {
    **{name: value for name, value in GRAPH["5"]["inputs"].items() if name not in ("seed", "denoise")},
    "add_noise": "enable",
    "noise_seed": 9,
    "steps": 20,
    "start_at_step": 8,
    "end_at_step": 10_000,
    "return_with_leftover_noise": "disable",
    "latent_image": ["9", 0],
}


@pytest.mark.parametrize(
    "change_of", [{}, {"add_noise": "disable"}, {"end_at_step": 15}, {"return_with_leftover_noise": "enable"}]
)
def test_an_advanced_sampler_begins_where_it_says_or_is_refused(
    client: httpx.Client, served: RunningStudio, change_of: dict[str, Any]
) -> None:
    load = ("LoadImage", {"image": upload(client, "a.png", make_png())["name"]})
    encoded = ("VAEEncode", {"pixels": ["8", 0], "vae": ["1", 2]})
    graph = change(n8=load, n9=encoded, n5=("KSamplerAdvanced", ADVANCED | change_of))
    if change_of:
        answer = client.post("/prompt", json={"prompt": graph})
        assert answer.status_code == 400
        assert "last step" in answer.json()["node_errors"]["5"]["errors"][0]["message"]
        return
    run(client, graph)
    request = served.backend.seen[-1][0]
    assert (request.seed, request.steps, request.strength) == (9, 20, 12 / 20)


@pytest.mark.parametrize(
    ("method", "upscaler"), [("nearest-exact", "Latent (nearest-exact)"), ("bilinear", "Latent"), ("area", None)]
)
def test_a_second_sampler_is_the_hires_pass(
    client: httpx.Client, served: RunningStudio, method: str, upscaler: str | None
) -> None:
    wanted = {"latent_image": ["8", 0], "denoise": 0.6, "steps": 20, "cfg": 3.0, "sampler_name": "dpmpp_2m"}
    wanted |= {"scheduler": "exponential"}
    second = {**GRAPH["5"]["inputs"], **wanted, "model": ["10", 0]}
    larger = {"samples": ["5", 0], "upscale_method": method, "width": 128, "height": 96, "crop": "disabled"}
    nodes = {
        "n8": ("LatentUpscale", larger),
        "n9": ("KSampler", second),
        "n10": ("CheckpointLoaderSimple", {"ckpt_name": "other.safetensors"}),
        "n6": ("VAEDecode", {"samples": ["9", 0]}),
    }
    run(client, change(**nodes))
    request = served.backend.seen[-1][0]
    hires = request.hires
    assert (request.steps, request.width, hires.width, hires.height) == (4, 64, 128, 96)
    assert (hires.steps, hires.guidance, hires.sampler, hires.model) == (20, 3.0, "DPM++ 2M", "other")
    assert hires.schedule == "Exponential"
    assert upscaler is None or hires.upscaler == upscaler
    same = {
        **second,
        "model": ["1", 0],
        "sampler_name": "dpmpp_2m",
        "scheduler": "beta",
    }
    run(client, change(**nodes | {"n9": ("KSampler", same)}))
    fitted = served.backend.seen[-1][0].hires
    assert (fitted.model, fitted.sampler, fitted.schedule) == (None, "DPM++ 2M", None)
    assert compute_hires_steps(hires.steps, hires.strength)[0] == int(20 / 0.6)
    nothing = nodes | {"n9": ("KSampler", second | {"denoise": 0.0})}
    answer = client.post("/prompt", json={"prompt": change(**nothing)})
    assert answer.status_code == 400
    assert "no step" in answer.json()["node_errors"]["9"]["errors"][0]["message"]


def test_a_graph_that_is_not_understood_is_refused_in_comfyuis_words(client: httpx.Client) -> None:
    def refuse(graph: Any) -> dict[str, Any]:
        answer = client.post("/prompt", json={"prompt": graph})
        assert answer.status_code == 400, answer.text
        found: dict[str, Any] = answer.json()
        return found

    unknown = refuse(change(n8=("SamplerCustomAdvanced", {})))
    assert unknown["error"]["type"] == "invalid_prompt"
    assert "SamplerCustomAdvanced" in unknown["error"]["message"]
    assert refuse({})["error"]["type"] == "no_prompt"
    assert refuse({"1": GRAPH["1"]})["error"]["type"] == "prompt_no_outputs"
    for inputs, kind in (
        ({"steps": 0}, "value_smaller_than_min"),
        ({"sampler_name": "none such"}, "value_not_in_list"),
        ({"positive": ["4", 0]}, "return_type_mismatch"),
        ({"steps": "many"}, "invalid_input_type"),
        ({"latent_image": ["99", 0]}, "bad_linked_input"),
    ):
        found = refuse(change(n5=("KSampler", inputs)))
        assert found["error"]["type"] == "prompt_outputs_failed_validation"
        assert found["node_errors"]["5"]["errors"][0]["type"] == kind
        assert found["node_errors"]["5"]["dependent_outputs"] == ["7"]
    graph = change()
    del graph["5"]["inputs"]["cfg"]
    assert refuse(graph)["node_errors"]["5"]["errors"][0]["type"] == "required_input_missing"
    circle = change(n5=("KSampler", {"latent_image": ["8", 0]}))
    circle["8"] = {
        "class_type": "LatentUpscaleBy",
        "inputs": {"samples": ["5", 0], "upscale_method": "area", "scale_by": 1.5},
    }
    assert refuse(circle)["error"]["type"] == "prompt_outputs_failed_validation"
    assert client.post("/prompt", content=b"{").status_code == 400
    large = {"extra_pnginfo": {"workflow": "x" * 2**20}}
    assert client.post("/prompt", json={"prompt": GRAPH, "extra_data": large}).status_code == 400
    listed = {"extra_pnginfo": []}
    assert client.post("/prompt", json={"prompt": GRAPH, "extra_data": listed}).status_code == 200


def test_an_interrupted_graph_and_a_failed_one_end_as_errors(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, backend=make_backend(held=True)) as served:
        client = served.open_client()
        name = client.post("/prompt", json={"prompt": GRAPH}).json()["prompt_id"]
        assert served.backend.entered.acquire(timeout=20)
        wait_until(lambda: client.get("/queue").json()["queue_running"])
        assert client.get("/prompt").json() == {"exec_info": {"queue_remaining": 1}}
        assert client.get(f"/history/{name}").json() == {}
        assert client.post("/interrupt").status_code == 200
        served.backend.release(10)
        wait_until(lambda: client.get(f"/history/{name}").json())
        status = client.get(f"/history/{name}").json()[name]["status"]
        assert (status["status_str"], status["completed"]) == ("error", False)
        assert status["messages"][-1][0] == "execution_interrupted"
        served.backend.fail = lambda request, step: ModelBroken("The file is broken.", hint="Replace it.")
        failed = run(client, GRAPH)
        kind, told = failed["status"]["messages"][-1]
        assert (kind, told["node_type"]) == ("execution_error", "KSampler")
        assert told["exception_message"].startswith("The file is broken.")


def test_a_second_upload_of_other_bytes_gets_another_name(client: httpx.Client) -> None:
    assert upload(client, "twice.png", make_png("red"))["name"] == "twice.png"
    assert upload(client, "twice.png", make_png("red"))["name"] == "twice.png"
    assert upload(client, "twice.png", make_png("blue"))["name"] == "twice (1).png"
    assert upload(client, "twice.png", make_png("green"), overwrite="true")["name"] == "twice.png"
    assert upload(client, "../../etc/passwd", make_png())["name"] == "passwd"
    assert upload(client, "a.png", make_png(), subfolder="../..")["subfolder"] == ""
    answer = client.get("/view", params={"filename": "twice.png", "type": "input"})
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.convert("RGB").getpixel((0, 0)) == (0, 128, 0)
    upload(client, "画像 ü.png", make_png("blue"))
    answer = client.get("/view", params={"filename": "画像 ü.png", "type": "input"})
    assert (answer.status_code, answer.headers["content-disposition"]) == (
        200,
        "filename*=UTF-8''%E7%94%BB%E5%83%8F%20%C3%BC.png",
    )
    assert client.get("/view", params={"filename": "../library.db", "type": "input"}).status_code == 404
    assert client.get("/view", params={"filename": "library.db"}).status_code == 404
    bad = client.post("/upload/image", files={"image": ("a.png", b"cposix\nsystem\n(S'id'\ntR.", "image/png")})
    assert (bad.status_code, bad.json()["error"]["type"]) == (400, "bad_image")


def test_a_result_is_loaded_by_its_name(client: httpx.Client, served: RunningStudio) -> None:
    (file,) = run(client, change(n7=("SaveImage", {"filename_prefix": "folder/first"})))["outputs"]["7"]["images"]
    name = f"{file['subfolder']}/{file['filename']} [output]"
    encoded = ("VAEEncode", {"pixels": ["8", 0], "vae": ["1", 2]})
    run(client, change(n8=("LoadImage", {"image": name}), n9=encoded, n5=("KSampler", {"latent_image": ["9", 0]})))
    assert served.backend.seen[-1][0].task is Task.IMG2IMG
    missing = change(n8=("LoadImage", {"image": "none.png [output]"}), n7=("SaveImage", {"images": ["8", 0]}))
    assert client.post("/prompt", json={"prompt": missing}).status_code == 400


def test_the_mask_of_an_upload_becomes_its_transparency(client: httpx.Client) -> None:
    first = upload(client, "portrait.png", make_png("blue"))
    mask = make_png((0, 0, 0, 0), mode="RGBA", size=(32, 32))
    fields = {"original_ref": json.dumps({"filename": first["name"], "type": "input"})}
    answer = client.post("/upload/mask", files={"image": ("painted.png", mask, "image/png")}, data=fields)
    shown = client.get("/view", params={"filename": answer.json()["name"], "type": "input"})
    with Image.open(io.BytesIO(shown.content)) as image:
        assert (image.size, image.convert("RGBA").getpixel((9, 9))) == ((64, 64), (0, 0, 255, 0))
    for wrong, status in (('{"filename": "none.png", "type": "input"}', 404), ("[]", 400), ("[" * 900, 400)):
        sent = {"files": {"image": ("painted.png", mask, "image/png")}, "data": {"original_ref": wrong}}
        assert client.post("/upload/mask", **sent).status_code == status


def test_a_graph_of_any_size_is_not_kept(client: httpx.Client) -> None:
    answer = client.post("/prompt", json={"prompt": change(n7=("SaveImage", {"note": "x" * MAX_GRAPH}))})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "The graph is too large.")


def test_inputs_that_a_node_does_not_have_lead_nowhere(client: httpx.Client) -> None:
    broken = ("LatentUpscaleBy", {"samples": ["4", 0]})
    graph = change(n8=broken, n5=("KSampler", {"note": ["8", 0]}))
    assert client.post("/prompt", json={"prompt": graph}).status_code == 200
    graph = change(n8=broken, n5=("KSampler", {"latent_image": ["8", 0]}))
    assert client.post("/prompt", json={"prompt": graph}).status_code == 400


def test_names_never_leave_their_folder() -> None:
    assert clean_name("..\\..\\a/b/../c.png") == "c.png"
    assert clean_folder("a/../..//b\0c") == "a/b_c"
    files = UserFiles()
    assert files.add_upload("ann", "x.png", "", "1" * 64, overwrite=False) == ("x.png", "")
    assert files.find_upload("ann", "x.png") == "1" * 64
    assert files.list_uploads("bob") == []


def test_graphs_files_and_messages_are_each_users_own(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        tokens = served.studio.engine.tokens
        ann, bob = (
            served.open_client(headers={"Authorization": f"Bearer {tokens.create(name, 'x', TokenScope.GENERATE)}"})
            for name in ("ann", "bob")
        )
        history = run(ann, GRAPH)
        (file,) = history["outputs"]["7"]["images"]
        assert ann.get("/view", params=file).status_code == 200
        assert bob.get("/view", params=file).status_code == 404
        assert bob.get(f"/history/{history['prompt'][1]}").json() == {}
        assert bob.get("/history").json() == {}
        upload(ann, "ann.png", make_png())
        assert bob.get("/view", params={"filename": "ann.png", "type": "input"}).status_code == 404
        stranger = served.open_client()
        for path in ("/object_info", "/history", "/view?filename=x", "/queue", "/system_stats", "/api/object_info"):
            assert stranger.get(path).status_code == 401, path
        address = served.url.replace("http", "ws") + "/ws?clientId=x"
        with pytest.raises(InvalidStatus):
            connect(address).recv(5)
        header = {"Authorization": ann.headers["Authorization"]}
        with connect(address, additional_headers=header) as socket:
            assert json.loads(socket.recv(10))["type"] == "status"
        assert served.open_client(auth=("ann", PASSWORDS["ann"])).get("/queue").status_code == 200


def test_a_foreign_page_opens_no_socket_and_reads_nothing(served: RunningStudio, client: httpx.Client) -> None:
    address = served.url.replace("http", "ws") + "/ws?clientId=x"
    with pytest.raises(InvalidStatus):
        connect(address, origin=Origin("https://evil.example")).recv(5)
    with pytest.raises(InvalidStatus):
        connect(served.url.replace("http", "ws") + "/gradio_api/queue/join").recv(5)
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    for path in ("/object_info", "/history", "/view?filename=x"):
        assert client.get(path, headers=headers).status_code == 403


def test_lists_and_facts_have_comfyuis_shapes(client: httpx.Client) -> None:
    nodes = client.get("/object_info").json()
    assert {"UNETLoader", "VAELoader", "KSampler", "SaveImage", "LoadImage"} <= set(nodes)
    names = nodes["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]
    assert names == ["fake.safetensors", "other.safetensors"]
    assert nodes["KSampler"]["input"]["required"]["steps"] == ["INT", {"default": 20, "min": 1, "max": 10000}]
    assert client.get("/object_info/KSampler").json()["KSampler"] == nodes["KSampler"]
    assert client.get("/api/models/checkpoints").json() == names
    stats = client.get("/system_stats").json()
    assert {"os", "python_version", "embedded_python", "comfyui_version"} <= set(stats["system"])
    assert {"name", "type", "vram_total", "torch_vram_free"} <= set(stats["devices"][0])
    assert client.get("/embeddings").json() == []
    assert client.get("/extensions").json() == []
    assert client.post("/free", json={}).status_code == 200
    assert client.post("/history", json={"clear": True}).status_code == 200
    assert client.get("/history").json() == {}
    assert client.get("/").is_success


def test_the_dialect_can_be_switched_off(served: RunningStudio, client: httpx.Client) -> None:
    served.studio.settings.change({"api_comfyui": False})
    try:
        assert client.get("/object_info").status_code == 404
        assert client.get("/api/image-studio/health").status_code == 200
        with pytest.raises(InvalidStatus):
            connect(served.url.replace("http", "ws") + "/ws?clientId=x").recv(5)
    finally:
        served.studio.settings.change({"api_comfyui": True})


def test_one_users_sockets_leave_room_for_anothers() -> None:
    sockets = Sockets()
    assert all(sockets.open("bob", str(number)) is not None for number in range(MAX_SOCKETS_OF_USER))
    assert sockets.open("bob", "one more") is None
    assert sockets.open("bob", "0") is not None, "a client that comes again takes its own place"
    assert sockets.open("ann", "first") is not None
