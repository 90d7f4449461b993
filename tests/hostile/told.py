"""What is told of a file, a reply or an address that means harm."""


def one_line(error):
    """What was told, which is one line, and no book."""
    told = str(error.value)
    assert told and "\n" not in told and len(told) < 1000, told
    return told
