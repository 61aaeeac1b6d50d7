import type { PageApi } from "./page_api.js";

/** What studio/serving/page_assets.py writes into the page before these modules load. */
interface PageSettings {
  /** The theme that the administrator set. */
  theme: "light" | "dark" | "system";
  /** Names of the forms that the page restores as it loads. */
  forms: string[];
  /** Titles of errors by their codes. */
  errorTitles: Record<string, string>;
  /** The address at which Gradio's page looks for the styles of its theme. */
  themeStyles: string;
  /** The address of styles that nothing shows before the modules have loaded. */
  styles: string;
  /** The address of main.js. */
  entry: string;
  /** Addresses of what the page needs soon after one can type: the modules, and Gradio's files for the settings. */
  following: string[];
}

/** A call that was made before the modules had loaded. */
export type EarlyCall = [name: keyof PageApi, values: unknown[], done: (value: unknown) => void];

declare global {
  interface Window {
    easel: PageApi;
    easelSettings: PageSettings;
    easelEarlyCalls?: EarlyCall[];
    /** What was typed into the prompt before the modules had loaded. */
    easelTypedPrompt?: string;
    /** Whether the browser kept a form when the page began to load. */
    easelHasStoredForm: boolean;
    easelChooseTheme: (theme: "light" | "dark") => void;
  }
  /** Texts in the language of the visitor, by the English ones; none where the page is English. */
  var easelTexts: Record<string, string> | undefined;
}
