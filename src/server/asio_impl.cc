// The function bodies of Asio and Beast, for the whole room; see CMakeLists.txt.

#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
