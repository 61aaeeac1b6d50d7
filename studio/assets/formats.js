// Platform formats on the page: the zones over the shown picture, and the cards of templates.
(() => {
  const easel = (window.easel = window.easel || {});
  const find = (selector, root = document) => root.querySelector(selector);

  // The format of the shown picture: its own once it is made, the chosen one while it forms.
  const formatOf = (desk, picture) => {
    if (picture.classList.contains("forming")) return find("[data-zones]", desk)?.dataset.zones || "";
    const label = find('.stage .frame[aria-pressed="true"]', desk)?.dataset.label || "";
    return label.includes(".") ? label : "";  // a contact sheet or the whole picture has no zones
  };
  // Where the pixels lie inside the picture's box, which may be larger than they are.
  const place = (over, picture) => {
    const [wide, high] = [picture.naturalWidth || picture.width, picture.naturalHeight || picture.height];
    if (!wide || !high) return;
    const scale = Math.min(picture.offsetWidth / wide, picture.offsetHeight / high);
    const [width, height] = [wide * scale, high * scale];
    const left = picture.offsetLeft + (picture.offsetWidth - width) / 2;
    const top = picture.offsetTop + (picture.offsetHeight - height) / 2;
    over.style.cssText = `left:${left}px;top:${top}px;width:${width}px;height:${height}px`;
  };
  const lay = (desk) => {
    const picture = find(".stage .canvas img.shown", desk);
    const before = find(".stage .zones-over", desk);
    const on = find(".show-zones input", desk)?.checked ?? !desk.classList.contains("easel-social");  // a fold that was never opened has no box yet
    const format = picture && on ? formatOf(desk, picture) : "";
    const source = format && `api/image-studio/social/formats/${encodeURIComponent(format)}/zones.svg`;
    if (before && before.dataset.src === source && before.picture === picture) return place(before, picture);
    before?.remove();
    if (!source) return;
    const over = easel.make("img", { class: "zones-over", src: source, alt: "Zones of the format over the picture" });
    over.dataset.src = source;
    over.picture = picture;
    picture.addEventListener("load", () => place(over, picture));
    new ResizeObserver(() => place(over, picture)).observe(picture);
    picture.parentElement.append(over);
    place(over, picture);
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
