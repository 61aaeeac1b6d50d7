// @ts-check
/** Starts everything that the page does without asking the server. */

import { startFocusKeeper } from "./common/focus_keeper.js";
import { labelIconButtons } from "./common/icon_labels.js";
import { startBrandLink } from "./common/open_tab.js";
import { holdButtonsForPendingWork } from "./common/pending_work.js";
import { startTheme } from "./common/theme.js";
import { startToastCleanup } from "./common/toasts.js";
import { startListFocus } from "./form/list_focus.js";
import { startRestoreSign } from "./form/restore_sign.js";
import { startShortcuts } from "./form/shortcuts.js";
import { startTemplateCards } from "./form/template_cards.js";
import { startHelpButton } from "./help/help_button.js";
import { startJobAlerts } from "./help/job_alerts.js";
import { startTabHints } from "./help/tab_hints.js";
import { startPaste } from "./images/pad_registry.js";
import { startLibraryPreload } from "./library/library_preload.js";
import { installPageApi } from "./page_api.js";
import { startWildcardCompletion } from "./prompts/wildcard_completion.js";
import { startLightbox } from "./result/lightbox.js";
import { startResultActions } from "./result/result_actions.js";
import { startResultMarks } from "./result/result_marks.js";
import { startResultView } from "./result/result_view.js";
import { startZoneOverlays } from "./result/zone_overlay.js";

installPageApi();
startTheme();
startBrandLink();
startToastCleanup();
startRestoreSign();
startListFocus();
labelIconButtons();
holdButtonsForPendingWork();
startShortcuts();
startTemplateCards();
startPaste();
startWildcardCompletion();
startLightbox();
startResultView();
startResultActions();
startResultMarks();
startZoneOverlays();
startLibraryPreload();
startHelpButton();
startTabHints();
startJobAlerts();
startFocusKeeper();
