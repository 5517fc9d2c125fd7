// The heap of a process whose memory is a budget.

#pragma once

namespace dnc::stream {

// Makes malloc give memory back that is free: few arenas, large blocks mapped on their
// own. For a program that is about streaming, at its start; a library leaves it alone.
void BoundHeap();

}  // namespace dnc::stream
