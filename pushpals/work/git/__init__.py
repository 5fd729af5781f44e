"""The installed git, driven through one runner: argument lists, a built environment, typed answers.

Nothing here reads a person's configuration, runs a hook, a filter or a helper that a repository names,
or follows a path inside a working tree. GitPython is not used here.
"""
