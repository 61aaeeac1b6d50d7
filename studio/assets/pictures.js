// Pads: fields for images. An image is dropped, pasted, chosen, photographed or dragged from a result; the studio keeps it
// at once and the field's value is its name there (several names with spaces between, in a pad for many).
(() => {
  const easel = (window.easel = window.easel || {});
  const NAME = /^[0-9a-f]{64}$/;
  const pads = new Map();      // name of the pad -> { value, take }
  const listeners = new Map(); // name of the pad -> node that shows its image too -> its function
  easel.address = (hash) => `page/pictures/${hash}`;

  // Send an image to be kept. `query` may name the image that a mask or a drawing belongs to.
  easel.keep = (body, query = "") => easel.pending((async () => {
    const form = new FormData();
    if (body) form.append("file", body, "image");
    let answer;
    try {
      answer = await fetch(`page/pictures${query}`, { method: "POST", body: body ? form : undefined });
    } catch {
      throw Object.assign(new Error("The studio did not answer."), { hint: "Check that it still runs, then try again." });
    }
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw Object.assign(new Error(told.error || "The image was not taken."), { hint: told.details?.hint || "" });
    return told;
  })());

  // `listener` learns of every image that lies on the pad called `name`, the present one at once, while `node` is on the page.
  easel.follow = (name, node, listener) => {
    if (!listeners.has(name)) listeners.set(name, new Map());
    listeners.get(name).set(node, listener);
    listener(pads.get(name)?.value() || "");
  };
  // The same for all images of a pad for many.
  easel.followAll = (name, node, listener) => easel.follow(name, node, () => listener(pads.get(name)?.all() || []));
  const announce = (name, hash) => listeners.get(name)?.forEach((listener, node, all) => {
    if (node.isConnected) listener(hash);
    else all.delete(node);
  });

  // All files below what was dropped, folders opened.
  const files_of = async (transfer) => {
    const roots = [...transfer.items].map((item) => item.kind === "file" && item.webkitGetAsEntry?.()).filter(Boolean);
    if (!roots.some((root) => root.isDirectory)) return [...transfer.files];
    const files = [];
    const walk = async (entry) => {
      if (entry.isFile) { files.push(await new Promise((resolve, reject) => entry.file(resolve, reject))); return; }
      const reader = entry.createReader();
      for (;;) {  // a reader gives a hundred at a time
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) return;
        for (const one of some) await walk(one);
      }
    };
    for (const root of roots) await walk(root);
    return files;
  };
  const dragged = (transfer) => {
    const files = files_of(transfer);
    const link = transfer.getData("text/uri-list") || "";
    const asset = /\/api\/image-studio\/images\/([\w-]+)/.exec(link);
    return { files, asset: asset && link.startsWith(location.origin) ? asset[1] : "" };
  };

  const camera = async (take) => {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      easel.refuse("There is no camera that this page may use.", "Allow it in the browser, or choose a file.");
      return;
    }
    const video = easel.make("video", { autoplay: true, playsinline: true });
    video.muted = true;
    video.srcObject = stream;
    const shoot = easel.make("button", { type: "button", class: "mini" }, "Take the image");
    const cancel = easel.make("button", { type: "button", class: "mini" }, "Cancel");
    const dialog = easel.make("dialog", { class: "camera", "aria-label": "Camera" }, video, easel.make("div", { class: "pad-tools" }, shoot, cancel));
    shoot.addEventListener("click", () => {
      const canvas = easel.make("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob((blob) => blob && take([blob]), "image/png");
      dialog.close();
    });
    cancel.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => { stream.getTracks().forEach((track) => track.stop()); dialog.remove(); });
    document.body.append(dialog);
    dialog.showModal();
  };

  easel.pad = ({ element, props, watch, trigger }, { name, label, many, hint }) => {
    const file = easel.make("input", { type: "file", accept: "image/*", multiple: Boolean(many), hidden: true, tabindex: "-1", "aria-label": label });
    const button = (text, act, more = {}) => easel.make("button", { type: "button", class: "mini", onclick: act, ...more }, text);
    const drop = easel.make("button", { type: "button", class: "pad-drop", onclick: () => file.click() },
      easel.make("strong", {}, label), easel.make("span", {}, hint));
    const shown = easel.make("div", { class: "pad-shown" });
    const facts = easel.make("span", { class: "pad-facts", role: "status" });
    const tools = easel.make("div", { class: "pad-tools" }, facts,
      button(many ? "Add" : "Replace", () => file.click(), { "aria-label": `${many ? "Add to" : "Replace"}: ${label}` }),
      button("Remove", () => put("", true), { "aria-label": `Remove: ${label}` }));
    const folder = easel.make("input", { type: "file", webkitdirectory: "", "aria-label": `Folder: ${label}` });
    const skips = easel.make("div", { class: "pad-skips", role: "status" });
    const ways = easel.make("div", { class: "pad-ways" }, button("Camera", () => camera(take)));
    const root = easel.make("div", { class: many ? "pad pad-many" : "pad", role: "group", "aria-label": label }, drop, ways, shown, tools, skips, file);
    if (many) {
      const whole = () => button("Folder", () => folder.click(), { class: "mini pad-folder", "aria-label": `Add a folder to: ${label}` });
      ways.prepend(whole());
      tools.lastChild.before(whole());
    }
    element.replaceChildren(root);

    const names = () => String(props.value || "").split(" ").filter((one) => NAME.test(one));
    const draw = () => {
      const held = names();
      root.classList.toggle("pad-full", held.length > 0);
      facts.textContent = held.length > 1 ? `${held.length} images` : "";
      shown.replaceChildren(...held.slice(0, 60).map((hash, index) => {
        const image = easel.make("img", { src: easel.address(hash), alt: many ? `Image ${index + 1} of ${held.length}` : label, draggable: "false" });
        image.addEventListener("load", () => { if (held.length === 1) facts.textContent = `${image.naturalWidth} × ${image.naturalHeight}`; });
        image.addEventListener("error", () => { put(names().filter((one) => one !== hash).join(" "), true); });
        return image;
      }));
      announce(name, held[0] || "");
    };
    const put = (value, own) => {
      if (value === (props.value || "")) return;
      props.value = value;
      draw();
      if (own) trigger("upload");  // the user changed it, not the page
    };
    const taken = async (works) => {
      root.classList.add("pad-busy");
      const kept = [];
      const skipped = [];
      for (const [called, work] of works) {
        try {
          kept.push((await work()).hash);
        } catch (error) {
          skipped.push([called, error.message, error.hint]);
        }
      }
      root.classList.remove("pad-busy");
      tell(skipped, works.length);
      if (kept.length) put(many ? [...new Set([...names(), ...kept])].join(" ") : kept[0], true);
    };
    // One that is refused is told aloud; of several, what was skipped and why stands below the rest.
    const tell = (skipped, all) => {
      skips.replaceChildren();
      if (skipped.length === 1 && all === 1) easel.refuse(skipped[0][1], skipped[0][2]);
      else if (skipped.length) {
        const rows = skipped.map(([called, why]) => easel.make("tr", {}, easel.make("td", {}, called), easel.make("td", {}, why)));
        skips.append(easel.make("details", { open: skipped.length < 6 },
          easel.make("summary", {}, `${skipped.length} of ${all} files skipped`), easel.make("table", {}, ...rows)));
      }
    };
    const take = (files) => taken((many ? files : files.slice(0, 1)).map((one) => [one.webkitRelativePath || one.name, () => easel.keep(one)]));

    for (const chooser of [file, folder]) chooser.addEventListener("change", () => { take([...chooser.files]); chooser.value = ""; });
    root.addEventListener("dragover", (event) => { event.preventDefault(); root.classList.add("pad-over"); });
    root.addEventListener("dragleave", () => root.classList.remove("pad-over"));
    root.addEventListener("drop", async (event) => {
      event.preventDefault();
      root.classList.remove("pad-over");
      const { files, asset } = dragged(event.dataTransfer);
      if (asset) taken([["the image", () => easel.keep(null, `?asset=${asset}`)]]);  // with its story, which the browser's copy of the file may lack
      else {
        const found = await files;
        if (found.length) take(found);
        else easel.refuse("There is no image in what was dropped.", "Drop an image file.");
      }
    });
    watch("value", draw);
    pads.set(name, { value: () => names()[0] || "", all: names, take, root });
    draw();
  };

  // A pasted image goes to the pad that has the focus, else to the first empty one in sight, else to the first.
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])].filter((file) => file.type.startsWith("image/"));
    if (!files.length) return;
    const sight = [...pads.values()].filter((pad) => pad.root.isConnected && pad.root.offsetParent);
    const pad = sight.find((one) => one.root.contains(document.activeElement)) || sight.find((one) => !one.value()) || sight[0];
    if (!pad) return;
    event.preventDefault();
    pad.take(files);
  });
})();
