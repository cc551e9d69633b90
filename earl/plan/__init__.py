"""`earl plan`: what a run will take and all that is wrong with its config, before anything is loaded or written.

Reads the config, the model's config.json, its tokenizer and the problems; never its weights. `model_shape` counts
parameters, `work` counts tokens and updates, `memory`, `duration` and `disk` estimate, `checks` finds inconsistencies,
`document` puts it together.
"""
