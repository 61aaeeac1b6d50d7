"""ControlNet annotators, one small file each: `PREPROCESSOR = PreprocessorSpec(...)`."""
