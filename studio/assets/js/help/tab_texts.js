// @ts-check
/** What each tab is for: its hint, and a section of the help. */

/**
 * @typedef {object} TabText
 * @property {string} tab its title in lower case, which is its id
 * @property {string} title
 * @property {string} text
 */

/** @type {readonly TabText[]} */
export const TAB_TEXTS = [
  {
    tab: "txt2img",
    title: "Txt2Img",
    text: "Describe an image and press Generate (Ctrl+Enter). Send, upscale or reuse it below the result.",
  },
  {
    tab: "img2img",
    title: "Img2Img",
    text: "Drop an image, choose what to do with it, and press Generate. “→ Img2Img” sends results here.",
  },
  {
    tab: "extras",
    title: "Extras",
    text: "Drop images, tick the steps and start them: upscale, restore faces, remove the background, write files.",
  },
  {
    tab: "social optimizer",
    title: "Social Optimizer",
    text: "Drop an image, tick formats, check the crops, and press Export: one file for each format.",
  },
  {
    tab: "prompts",
    title: "Prompts",
    text: "Write what the image is for and for whom, tick the prompts that you like, and generate them.",
  },
  {
    tab: "library",
    title: "Library",
    text: "Every image that was made here. Search by words or filters, mark favourites, send images to tabs.",
  },
  {
    tab: "compare",
    title: "Compare",
    text: "Choose models, LoRAs, seeds or settings, and press Compare: the rest stays the same for all.",
  },
  {
    tab: "configurations",
    title: "Configurations",
    text: "Models, keys for cloud services, and settings. Those that take effect after a restart say so.",
  },
  {
    tab: "home",
    title: "Home",
    text: "The latest images, running jobs and spending at a glance.",
  },
];
