// @ts-check
/** The bar of the paint editor. */

import { make, makeButton, setPressed } from "../common/dom.js";

/** @typedef {"brush" | "eraser" | "hand"} Tool */

/**
 * What the bar's buttons do.
 * @typedef {object} ToolbarActions
 * @property {(tool: Tool) => void} chooseTool
 * @property {() => void} undo
 * @property {() => void} redo
 * @property {() => void} clear
 * @property {() => void} invert
 * @property {(file: File) => void} loadMask
 * @property {(factor: number) => void} zoom
 * @property {() => void} fit
 * @property {() => void} toggleWide
 */

export class PaintToolbar {
  /**
   * @param {string} label
   * @param {boolean} isMask
   * @param {ToolbarActions} actions
   * @param {import("./paint_editor.js").PaletteColour[]} [palette] the colours to choose from; without it any
   */
  constructor(label, isMask, actions, palette = []) {
    this.actions = actions;
    this.size = make("input", { type: "range", min: 1, max: 100, value: 12, "aria-label": "Brush size" });
    this.colour = make("input", { type: "color", value: "#d4483b", "aria-label": "Colour", title: "Colour" });
    this.chosen = palette[0]?.colour ?? "";
    this.swatches = palette.map(({ colour, name }) => this.#buildSwatch(colour, name));
    this.tools = {
      brush: button("Brush", "Brush (B)", () => actions.chooseTool("brush")),
      eraser: button("Eraser", "Eraser (E)", () => actions.chooseTool("eraser")),
      hand: button("Move", "Move the image (H)", () => actions.chooseTool("hand")),
    };
    this.undo = button("↶", "Undo (Ctrl+Z)", actions.undo);
    this.redo = button("↷", "Redo (Ctrl+Shift+Z)", actions.redo);
    this.wide = button("⤢", "Larger", actions.toggleWide, "mini paint-wider");
    this.status = make("span", { class: "paint-status", role: "status" });
    this.root = make("div", { class: "paint-bar", role: "toolbar", "aria-label": label });
    this.root.append(
      this.tools.brush,
      this.tools.eraser,
      this.size,
      ...(isMask ? [] : palette.length ? this.swatches : [this.colour]),
      this.undo,
      this.redo,
      button("Clear", "Clear everything", actions.clear),
      ...(isMask ? this.#buildMaskButtons() : []),
      this.tools.hand,
      button("−", "Zoom out", () => actions.zoom(1 / 1.4)),
      button("Fit", "Show the whole image", actions.fit),
      button("+", "Zoom in", () => actions.zoom(1.4)),
      this.wide,
      this.status,
    );
  }

  /**
   * @param {Tool} tool the chosen one
   * @param {boolean} canUndo
   * @param {boolean} canRedo
   */
  update(tool, canUndo, canRedo) {
    for (const [name, node] of Object.entries(this.tools)) setPressed(node, name === tool);
    this.undo.disabled = !canUndo;
    this.redo.disabled = !canRedo;
  }

  /** @returns {string} the colour to paint with */
  getColour() {
    return this.chosen || this.colour.value;
  }

  /**
   * @param {string} colour
   * @param {string} name
   * @returns {HTMLButtonElement}
   */
  #buildSwatch(colour, name) {
    const swatch = button(
      "",
      name,
      () => {
        this.chosen = colour;
        for (const other of this.swatches) setPressed(other, other === swatch);
        this.actions.chooseTool("brush");
      },
      "mini paint-swatch",
    );
    swatch.style.background = colour;
    setPressed(swatch, colour === this.chosen);
    return swatch;
  }

  /** @returns {HTMLElement[]} */
  #buildMaskButtons() {
    const label = "Mask file";
    const file = make("input", { type: "file", accept: "image/*", hidden: true, tabindex: "-1", "aria-label": label });
    file.addEventListener("change", () => {
      const chosen = file.files?.[0];
      file.value = "";
      if (chosen) this.actions.loadMask(chosen);
    });
    return [
      button("Invert", "Invert the mask", this.actions.invert),
      button("Load", "Load a mask from a file", () => file.click()),
      file,
    ];
  }
}

/**
 * @param {string} text
 * @param {string} label
 * @param {() => void} onClick
 * @param {string} [className]
 * @returns {HTMLButtonElement}
 */
function button(text, label, onClick, className = "mini") {
  return makeButton(text, onClick, { "aria-label": label, title: label, class: className });
}
