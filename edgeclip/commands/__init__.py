"""The commands, a module a stage: parse, one call, print. Heavy imports happen inside them, so that --help is quick."""
