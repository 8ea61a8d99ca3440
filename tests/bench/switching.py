IDS=[]
def measure(report, wanted): pass
