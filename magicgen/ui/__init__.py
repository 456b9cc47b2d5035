"""The app: gradio parts over the jobs. Nothing outside of this room imports gradio."""
