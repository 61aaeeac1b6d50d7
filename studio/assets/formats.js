// Platform formats on the page: the zones over the shown image, and the cards of templates.
(() => {
  const easel = (window.easel = window.easel || {});
  const find = (selector, root = document) => root.querySelector(selector);

  // The format of the shown image: its own once it is made, the chosen one while it forms.
  const formatOf = (desk, image) => {
    if (image.classList.contains("forming")) return find("[data-zones]", desk)?.dataset.zones || "";
    const label = find('.stage .frame[aria-pressed="true"]', desk)?.dataset.label || "";
    return label.includes(".") ? label : "";  // a contact sheet or the whole image has no zones
  };
  // Where the pixels lie inside the image's box, which may be larger than they are.
  const place = (over, image) => {
    const [wide, high] = [image.naturalWidth || image.width, image.naturalHeight || image.height];
    if (!wide || !high) return;
    const scale = Math.min(image.offsetWidth / wide, image.offsetHeight / high);
    const [width, height] = [wide * scale, high * scale];
    const left = image.offsetLeft + (image.offsetWidth - width) / 2;
    const top = image.offsetTop + (image.offsetHeight - height) / 2;
    over.style.cssText = `left:${left}px;top:${top}px;width:${width}px;height:${height}px`;
  };
  const lay = (desk) => {
    const image = find(".stage .canvas img.shown", desk);
    const before = find(".stage .zones-over", desk);
    const on = find(".show-zones input", desk)?.checked ?? !desk.classList.contains("easel-social");  // a fold that was never opened has no box yet
    const format = image && on ? formatOf(desk, image) : "";
    const source = format && `api/image-studio/social/formats/${encodeURIComponent(format)}/zones.svg`;
    if (before && before.dataset.src === source && before.image === image) return place(before, image);
    before?.remove();
    if (!source) return;
    const over = easel.make("img", { class: "zones-over", src: source, alt: "Zones of the format over the image" });
    over.dataset.src = source;
    over.image = image;
    image.addEventListener("load", () => place(over, image));
    new ResizeObserver(() => place(over, image)).observe(image);
    image.parentElement.append(over);
    place(over, image);
  };
  const layAll = () => document.querySelectorAll(".easel").forEach(lay);

  document.addEventListener("change", (event) => {
    if (event.target.closest?.(".show-zones")) layAll();
  });
  document.addEventListener("click", (event) => {
    const card = event.target.closest?.("[data-template]");
    if (!card) return;
    document.querySelectorAll("[data-template]").forEach((one) => one.setAttribute("aria-pressed", String(one === card)));
    const box = find("#template-chosen textarea, #template-chosen input");
    const setter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(box), "value").set;
    setter.call(box, card.dataset.template);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  });
  const watch = () => {
    const filter = { childList: true, subtree: true, attributes: true, attributeFilter: ["src", "aria-pressed", "data-zones"] };
    new MutationObserver(layAll).observe(document.body, filter);
  };
  if (document.body) watch();
  else document.addEventListener("DOMContentLoaded", watch);
})();
