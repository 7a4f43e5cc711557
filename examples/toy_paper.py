"""Recipe: a paper. ``python examples/toy_paper.py`` reproduces the one table of ``examples/conf/experiment/toy2024``.

A paper is a folder of data, and nothing else: ``paper.yaml`` (title, protocol, datasets), ``published.csv`` (its own
numbers, as fractions) and a file per table and figure. In the project it is ``conf/experiment/NAME``, and
``make reproduce-table1 PAPER=NAME DATASET=demo`` makes the table.
"""

if __name__ == "__main__":
    import sys

    from command_line import run

    run("experiment=toy2024/table1", *sys.argv[1:])
