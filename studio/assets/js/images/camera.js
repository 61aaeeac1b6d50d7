// @ts-check
/** Photographs with the device's camera. */

import { getContext, make, makeButton } from "../common/dom.js";
import { StudioError } from "../common/requests.js";
import { showError } from "../common/toasts.js";
import { translate } from "../common/translate.js";

/**
 * Open the camera in a dialog.
 * @param {(photo: File) => void} onPhoto
 */
export async function openCamera(onPhoto) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    showError(
      new StudioError(
        translate("No camera"),
        translate("This page cannot use a camera."),
        translate("Allow it in the browser, or choose a file."),
      ),
    );
    return;
  }
  showCamera(stream, onPhoto);
}

/**
 * @param {MediaStream} stream
 * @param {(photo: File) => void} onPhoto
 */
function showCamera(stream, onPhoto) {
  const video = make("video", { autoplay: true, playsinline: true });
  video.muted = true;
  video.srcObject = stream;
  const takePhoto = () => {
    const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    getContext(canvas).drawImage(video, 0, 0);
    canvas.toBlob((blob) => blob && onPhoto(new File([blob], "photo.png", { type: "image/png" })), "image/png");
    dialog.close();
  };
  const buttons = [makeButton("Take photo", takePhoto), makeButton("Cancel", () => dialog.close())];
  const bar = make("div", { class: "pad-tools" }, ...buttons);
  const dialog = make("dialog", { class: "camera", "aria-label": "Camera" }, video, bar);
  dialog.addEventListener("close", () => {
    for (const track of stream.getTracks()) track.stop();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
}
