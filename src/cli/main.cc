#include "cli/command.h"

int main(int argc, char** argv) { return dnc::cli::Main(argc, argv); }
