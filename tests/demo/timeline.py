def draw(demo, record):
    return ""
