# A room is a folder src/<room>: its .cc files become the static library
# dnc_<room>, its *_test.cc files the program <room>_test. What it may include
# and link is read from tools/layers.toml, the one list of it.

set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tools/layers.toml)
file(STRINGS ${CMAKE_SOURCE_DIR}/tools/layers.toml dnc_layer_lines REGEX "^[a-z_]+ *= *\\[")
set(DNC_ROOMS)
foreach(line IN LISTS dnc_layer_lines)
  # A list of quoted names; ';' inside would split the line, and none is there.
  string(REGEX MATCH "^[a-z_]+" room "${line}")
  string(REGEX MATCHALL "\"[a-z_]+\"" quoted "${line}")
  string(REPLACE "\"" "" deps "${quoted}")
  list(APPEND DNC_ROOMS ${room})
  set(DNC_DEPS_${room} ${deps})
endforeach()

add_library(dnc_flags INTERFACE)
target_include_directories(dnc_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(dnc_flags INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wimplicit-fallthrough -Werror
  -Wno-missing-field-initializers  # Designated initializers leave out what has a default.
  # GCC 12 sees it in reads of a std::string's own buffer.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
target_compile_definitions(dnc_flags INTERFACE DNC_VERSION="${PROJECT_VERSION}")

# dnc_room(NAME [LIBS lib...] [EXCLUDE file...]): LIBS are linked privately.
function(dnc_room name)
  cmake_parse_arguments(ARG "" "" "LIBS;TEST_LIBS;EXCLUDE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cc)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  foreach(file IN LISTS ARG_EXCLUDE)
    list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  endforeach()

  set(deps)
  foreach(dep IN LISTS DNC_DEPS_${name})
    list(APPEND deps dnc_${dep})
  endforeach()
  if(NOT sources)  # Headers only.
    add_library(dnc_${name} INTERFACE)
    target_link_libraries(dnc_${name} INTERFACE dnc_flags ${deps})
    return()
  endif()
  add_library(dnc_${name} STATIC ${sources})
  target_link_libraries(dnc_${name} PUBLIC dnc_flags ${deps} PRIVATE ${ARG_LIBS})

  if(NOT DNC_TESTS)
    return()
  endif()
  # Links the whole room against only what it declared.
  set(link_main ${CMAKE_BINARY_DIR}/link_main.cc)
  if(NOT EXISTS ${link_main})
    file(WRITE ${link_main} "int main() { return 0; }\n")
  endif()
  add_executable(${name}_link_test ${link_main})
  set_target_properties(${name}_link_test PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${name}_link_test PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,dnc_${name}>)
  add_test(NAME link.${name} COMMAND ${name}_link_test)

  if(tests)
    add_executable(${name}_test ${tests})
    set_target_properties(${name}_test PROPERTIES
      RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_libraries(${name}_test PRIVATE
      dnc_${name} dnc_testing ${ARG_LIBS} ${ARG_TEST_LIBS} GTest::gmock GTest::gtest_main)
    gtest_discover_tests(${name}_test DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 120)
  endif()
endfunction()
