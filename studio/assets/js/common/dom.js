// @ts-check
/** Small helpers over the DOM. */

import { translate } from "./translate.js";

/** @typedef {string | number | boolean | ((event: any) => void)} AttributeValue */

/** Attributes that are read by people; those of our own that the language has a text for are shown in it. */
const READ_ATTRIBUTES = ["title", "aria-label", "placeholder"];

/**
 * Make an element. Functions named `on…` become listeners, booleans are set or left out, the rest are attributes.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, AttributeValue>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") node.toggleAttribute(name, value);
    else node.setAttribute(name, READ_ATTRIBUTES.includes(name) ? translate(String(value)) : String(value));
  }
  node.append(...children);
  return node;
}

/**
 * Make one of the page's small buttons, its text in the language of the visitor.
 * @param {string} text
 * @param {(event: MouseEvent) => void} onClick
 * @param {Record<string, AttributeValue>} [attributes]
 * @returns {HTMLButtonElement}
 */
export function makeButton(text, onClick, attributes = {}) {
  return make("button", { type: "button", class: "mini", onclick: onClick, ...attributes }, translate(text));
}

/**
 * Find the first element that matches, null when there is none.
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {HTMLElement | null}
 */
export function find(selector, root = document) {
  return root.querySelector(selector);
}

/**
 * Find the first element that matches, where our own HTML always has one.
 * @param {string} selector
 * @param {ParentNode} root
 * @returns {HTMLElement}
 */
export function get(selector, root) {
  const node = find(selector, root);
  if (!node) throw new Error(`There is no ${selector}`);
  return node;
}

/**
 * Find all elements that match.
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {HTMLElement[]}
 */
export function findAll(selector, root = document) {
  return [...root.querySelectorAll(selector)].filter((node) => node instanceof HTMLElement);
}

/**
 * The element that an event happened on, null where it was no element.
 * @param {Event} event
 * @returns {Element | null}
 */
export function getTarget(event) {
  return event.target instanceof Element ? event.target : null;
}

/**
 * @param {Element} node
 * @returns {boolean}
 */
export function isPressed(node) {
  return node.getAttribute("aria-pressed") === "true";
}

/**
 * @param {Element} node
 * @param {boolean} pressed
 */
export function setPressed(node, pressed) {
  node.setAttribute("aria-pressed", String(pressed));
}

/**
 * Run `act` once the body exists.
 * @param {() => void} act
 */
export function whenBodyExists(act) {
  if (document.body) act();
  else document.addEventListener("DOMContentLoaded", act);
}

/**
 * Get the 2D context of a canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 * @returns {CanvasRenderingContext2D}
 */
export function getContext(canvas, settings) {
  const context = canvas.getContext("2d", settings);
  if (!context) throw new Error("This browser cannot draw on a canvas.");
  return context;
}
