// The rows of the registry for layers of sequences: recurrent layers, the wrappers
// Bidirectional and TimeDistributed, Embedding, Masking and RepeatVector. Options
// are read by recurrent_options.cc, shapes and weights derived by recurrent_shapes.cc.
//
// A wrapped layer is read and inferred by its own row of the registry; the record
// of its options lies in its wrapper's record under "layer", as Keras writes it.

#pragma once

#include "model/layer_registry.h"

namespace dnc::model {

void ReadSimpleRnn(OptionReader* options, LayerDraft* draft);
void ReadLstm(OptionReader* options, LayerDraft* draft);
void ReadGru(OptionReader* options, LayerDraft* draft);
void ReadConvLstm2D(OptionReader* options, LayerDraft* draft);
void ReadBidirectional(OptionReader* options, LayerDraft* draft);
void ReadTimeDistributed(OptionReader* options, LayerDraft* draft);
void ReadEmbedding(OptionReader* options, LayerDraft* draft);
void ReadMasking(OptionReader* options, LayerDraft* draft);
void ReadRepeatVector(OptionReader* options, LayerDraft* draft);

Status InferRecurrent(const array::Shape& input, LayerDraft* draft);
Status InferConvLstm2D(const array::Shape& input, LayerDraft* draft);
Status InferBidirectional(const array::Shape& input, LayerDraft* draft);
Status InferTimeDistributed(const array::Shape& input, LayerDraft* draft);
Status InferEmbedding(const array::Shape& input, LayerDraft* draft);
Status InferRepeatVector(const array::Shape& input, LayerDraft* draft);

}  // namespace dnc::model
