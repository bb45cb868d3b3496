"""Runs a file of SMT-LIB commands with cvc5, whose package holds no program."""

import sys

import cvc5

path, milliseconds = sys.argv[1:]
solver = cvc5.Solver()
solver.setOption("tlimit-per", milliseconds)
parser = cvc5.InputParser(solver)
parser.setFileInput(cvc5.InputLanguage.SMT_LIB_2_6, path)
while not (command := parser.nextCommand()).isNull():
    print(command.invoke(solver, parser.getSymbolManager()), end="")
