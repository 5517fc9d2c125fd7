// What the program dnc-trainer (launcher.cc) calls in the library that does its work.

#pragma once

extern "C" int DncTrainerMain(int argc, char** argv);
