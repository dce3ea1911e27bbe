"""Checks a SavedModel's graphs for operators that do more than compute."""

import os
from collections.abc import Iterable, Iterator

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfkd._core.untrusted._containers import check_folder_size
from tfkd._core.untrusted._limits import check_size
from tfkd._core.untrusted._messages import refusal

_AGAIN = "Export the model again, or ask for a new copy."
_TRUST = "If you trust its author, pass trust_files=True (--trust_files), which runs everything in it."


def _names(text):
    return frozenset(text.split())


# Operators that compute or hold values. A SavedModel's graph runs unchanged, so operators that read or
# write anything else are not listed here.
_COMPUTING = _names("""
    Abs Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin Asin Asinh Assert Assign
    AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp Atan Atan2 Atanh AvgPool
    AvgPool3D BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchNormWithGlobalNormalization BatchToSpaceND
    BiasAdd BiasAddV1 Bincount Bitcast BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs BroadcastTo Bucketize
    Case Cast Ceil CheckNumerics ClipByValue ComplexAbs Complex Concat ConcatOffset ConcatV2 Conj Const
    ControlTrigger Conv2D Conv3D Cos Cosh CropAndResize Cumprod Cumsum CumulativeLogsumexp
    DataFormatDimMap DataFormatVecPermute DenseBincount DepthToSpace DepthwiseConv2dNative Dequantize
    DestroyResourceOp Diag DiagPart Digamma Dilation2D DisableCopyOnRead Div DivNoNan DynamicPartition
    DynamicStitch Einsum Elu Empty EnsureShape Enter Equal Erf Erfc Erfinv Exit Exp ExpandDims Expm1
    ExtractImagePatches ExtractVolumePatches FFT FFT2D FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
    FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2
    FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual HSVToRGB IFFT IFFT2D IRFFT IRFFT2D
    Identity IdentityN If Imag InTopK InTopKV2 InplaceUpdate Inv Invert InvertPermutation IsFinite IsInf
    IsNan IsVariableInitialized L2Loss LRN LeakyRelu LeftShift Less LessEqual Lgamma LinSpace Log Log1p
    LogSoftmax LogicalAnd LogicalNot LogicalOr LoopCond LowerBound MatMul MatrixBandPart MatrixDiag
    MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixInverse MatrixSetDiag
    MatrixSetDiagV2 MatrixSetDiagV3 Max MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax Maximum Mean Merge
    Mfcc Min Minimum MirrorPad Mod Mul MulNoNan Multinomial Ndtri Neg NextIteration NoOp NonMaxSuppression
    NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5
    CombinedNonMaxSuppression NotEqual OneHot OnesLike Pack Pad PadV2 ParallelConcat ParallelDynamicStitch
    ParameterizedTruncatedNormal PartitionedCall Placeholder PlaceholderV2 PlaceholderWithDefault
    Polygamma Pow PreventGradient Prod QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
    QuantizeAndDequantizeV4 QuantizeV2 RFFT RFFT2D RGBToHSV RandomShuffle RandomStandardNormal
    RandomUniform RandomUniformInt Range Rank ReadVariableOp Real RealDiv Reciprocal Relu Relu6 Reshape
    ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ResourceGather ResourceGatherNd Reverse
    ReverseSequence ReverseV2 RightShift Rint Roll Round Rsqrt ScaleAndTranslate ScatterNd SegmentMax
    SegmentMean SegmentSum Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Snapshot
    Softmax Softplus Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square SquaredDifference
    Squeeze StatefulPartitionedCall StaticRegexFullMatch RegexFullMatch StatelessIf StatelessCase
    StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomNormal StatelessRandomNormalV2
    StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
    StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2
    StatelessTruncatedNormal StatelessTruncatedNormalV2 StatelessWhile StopGradient StridedSlice
    StringJoin Sub Sum Switch Tan Tanh TensorListConcatV2 TensorListElementShape TensorListFromTensor
    TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack
    TensorListReserve TensorListResize TensorListScatterV2 TensorListSetItem TensorListStack
    TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate
    TensorStridedSliceUpdate Tile TopK TopKV2 Transpose TruncateDiv TruncateMod TruncatedNormal Unique
    UniqueV2 Unpack UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum
    UpperBound VarHandleOp VarIsInitializedOp Variable VariableShape VariableV2 Where While Xdivy Xlog1py
    Xlogy ZerosLike Zeta
""")
# Operators that save and restore a SavedModel; nothing else may call them.
_OF_SAVER = frozenset(("MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"))
_WRITING = frozenset(("MergeV2Checkpoints", "SaveV2"))


def check_saved_model(path: str, what: str, trusted: bool) -> None:
    """Rejects a SavedModel that does more than compute, or is too large.

    Args:
        path: its folder.
        what: the argument and the folder, for the message.
        trusted: whether any operator is allowed.

    Raises:
        ValueError: if it is damaged, too large, or has an operator that is not known to be safe.
    """
    check_folder_size(path, what)
    model = saved_model_pb2.SavedModel()
    try:
        with open(os.path.join(path, "saved_model.pb"), "rb") as file:
            model.ParseFromString(file.read())
    except Exception as error:
        raise refusal(what, f"cannot be used as a SavedModel: {error}.", _AGAIN) from error
    if not model.meta_graphs:
        raise refusal(what, "cannot be used as a SavedModel: it holds no graph.", _AGAIN)
    _check_variables(path, what)
    if trusted:
        return
    for graph in model.meta_graphs:
        nodes = [*graph.graph_def.node, *(n for f in graph.graph_def.library.function for n in f.node_def)]
        _check_operators((node.op for node in nodes), graph, what)
        if writing := _WRITING & set(_run_by_user(graph)):
            raise refusal(what, f"is refused: its functions run {', '.join(sorted(writing))}.", _TRUST)


def _check_operators(operators: Iterable[str], graph, what):
    functions = {function.signature.name for function in graph.graph_def.library.function}
    if unknown := sorted(set(operators) - _COMPUTING - _OF_SAVER - functions):
        names = ", ".join(name[:40] for name in unknown[:5])
        raise refusal(
            what,
            f"is refused: its graph has the operators {names}{' and others' if unknown[5:] else ''}, "
            "which are not on the list of safe ones and could access files, the network or Python.",
            _TRUST,
        )


def _run_by_user(graph) -> Iterator[str]:
    """The operators that run when the model is loaded or called, except for its saver's."""
    nodes = {node.name: node for node in graph.graph_def.node}
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    outputs = [info.name for signature in graph.signature_def.values() for info in _tensors(signature)]
    outputs += [name for key in graph.collection_def for name in graph.collection_def[key].node_list.value]
    pending = [nodes[name] for name in map(_node_name, outputs) if name in nodes]
    saved = graph.object_graph_def.concrete_functions
    pending += [node for name in saved if name in functions for node in functions[name].node_def]
    seen = set()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node.op
        pending += [nodes[name] for name in map(_node_name, node.input) if nodes.get(name) is not None]
        called = [node.op, *(each for value in node.attr.values() for each in _functions_in(value))]
        pending += [inner for name in called if name in functions for inner in functions[name].node_def]


def _tensors(signature):
    return signature.outputs.values()


def _functions_in(value):
    return [value.func.name, *(each.name for each in value.list.func)]


def _node_name(tensor):
    return tensor.removeprefix("^").partition(":")[0]


def _check_variables(path, what):
    variables = os.path.join(path, "variables", "variables")
    if not os.path.exists(f"{variables}.index"):
        return
    try:
        reader = tf.train.load_checkpoint(variables)
        dtypes = reader.get_variable_to_dtype_map()
        shapes = reader.get_variable_to_shape_map()
    except Exception as error:
        raise refusal(what, f"cannot be used as a SavedModel: {error}.", _AGAIN) from error
    size = sum(tf.TensorShape(shape).num_elements() * dtypes[name].size for name, shape in shapes.items())
    check_size(what, size, "its variables have")
