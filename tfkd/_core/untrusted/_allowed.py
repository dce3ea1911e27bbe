"""Classes and functions that a network's configuration may name; they do nothing but compute.

Anything else is rejected. Additions in later versions of Keras are rejected until somebody reviews them.
"""

import inspect
from typing import Any

import keras

from tfkd._core import keras_distillation
from tfkd._core.tf_functions import OPERATION_OF, REBUILT_BY


def _names(text):
    return frozenset(text.split())


# All of `keras.layers` except `REFUSED_LAYERS`.
LAYERS = _names("""
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D
    AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add
    AdditiveAttention AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D AveragePooling2D
    AveragePooling3D AvgPool1D AvgPool2D AvgPool3D BatchNormalization Bidirectional CategoryEncoding
    CenterCrop Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D
    Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D
    Convolution1DTranspose Convolution2D Convolution2DTranspose Convolution3D Convolution3DTranspose
    Cropping1D Cropping2D Cropping3D CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout
    ELU EinsumDense Embedding Equalization Flatten GRU GRUCell GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D
    GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D GroupNormalization GroupQueryAttention HashedCrossing Hashing Identity InputLayer
    LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxNumBoundingBoxes MaxPool1D MaxPool2D MaxPool3D
    MaxPooling1D MaxPooling2D MaxPooling3D Maximum MelSpectrogram Minimum MixUp MultiHeadAttention Multiply
    Normalization PReLU Permute Pipeline RMSNormalization RNN RandAugment RandomBrightness
    RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing
    RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective
    RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation
    RandomZoom ReLU RepeatVector Rescaling Reshape Resizing ReversibleEmbedding STFTSpectrogram
    SeparableConv1D SeparableConv2D SeparableConvolution1D SeparableConvolution2D SimpleRNN SimpleRNNCell
    Softmax Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization
    StackedRNNCells Subtract TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D
    ZeroPadding1D ZeroPadding2D ZeroPadding3D
""")
# They run code from the file, read other files, or cannot be loaded as layers.
REFUSED_LAYERS = _names("""
    FlaxLayer Input InputSpec IntegerLookup JaxLayer Lambda Layer StringLookup TFSMLayer TextVectorization
    TorchModuleWrapper Wrapper
""")
# Layers that exist only in networks of `keras.applications`.
OF_APPLICATIONS = _names("CustomScaleLayer LayerScale StochasticDepth")
MODELS = _names("Functional Model Sequential")
# Layers of tf_keras that wrap TensorFlow functions, which are looked up by name.
OF_FUNCTIONS = _names("TFOpLambda SlicingOpLambda")
FUNCTIONS_OF_TENSORFLOW = frozenset(OPERATION_OF) | REBUILT_BY

# Operations of `keras.ops`, except those that take functions, make arrays of any size, or have no input.
OPERATIONS = _names("""
    Abs Absolute Add All Amax Amin Any Append Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax
    Argmin Argsort Average BroadcastTo Cbrt Ceil Clip Concatenate Copy Cos Cosh Cross Cumprod Cumsum Deg2rad
    Diagonal Diff
    Divide DivideNoNan Dot Einsum Equal Exp Exp2 ExpandDims Expm1 Fabs Flip Fliplr Flipud Floor
    FloorDivide Fmax Fmin Fmod FullLike GetItem Greater GreaterEqual Heaviside Hstack Hypot Inner Isclose
    Isfinite Isinf Isnan Less LessEqual Log Log10 Log1p Log2 Logaddexp Logaddexp2 LogicalAnd LogicalNot
    LogicalOr LogicalXor Matmul Max Maximum Mean Median Min Minimum Mod Moveaxis Multiply NanToNum Negative
    NotEqual OnesLike Outer Pad Power Prod Rad2deg Ravel Reciprocal Repeat Reshape Roll Rot90 Round Select
    Sign Sin Sinc Sinh Sort Split Sqrt Square Squeeze Stack Std Subtract Sum Swapaxes Take TakeAlongAxis Tan
    Tanh Tensordot Tile Transpose Tril Triu TrueDivide Trunc Var Vstack Where ZerosLike
    AdaptiveAveragePool AdaptiveMaxPool AveragePool BatchNorm Celu Conv ConvTranspose DepthToSpace
    DepthwiseConv DotProductAttention Elu Gelu Glu HardShrink HardSigmoid HardSilu HardTanh LayerNorm
    LeakyRelu LogSigmoid LogSoftmax MaxPool Moments Normalize OneHot RMSNorm Relu Relu6 Selu SeparableConv
    Sigmoid Silu SoftShrink Softmax Softplus Softsign SpaceToDepth SparsePlus SparseSigmoid Sparsemax
    Squareplus TanhShrink Threshold Unfold
    Erf Erfc Erfinv FFT FFT2 IRFFT ISTFT Logsumexp RFFT Rsqrt STFT TopK
    Cast SaturateCast Slice SliceUpdate StopGradient Unstack
    CropImages ExtractPatches GaussianBlur HSVToRGB PadImages RGBToGrayscale RGBToHSV Resize SobelEdges Norm
""")


def _public(module, kind):
    return frozenset(name for name, value in vars(module).items() if kind(value))


# Parts of layers, and of `compile`.
PARTS = frozenset().union(
    *(
        _public(module, inspect.isclass)
        for module in (
            keras.initializers,
            keras.regularizers,
            keras.constraints,
            keras.dtype_policies,
            keras.losses,
            keras.metrics,
            keras.optimizers,
            keras.optimizers.schedules,
            keras_distillation,
        )
    )
) | _names(
    "Policy PolynomialDecay AbsMaxQuantizer Int8QuantizationConfig Int4QuantizationConfig SeedGenerator"
)
_LOADERS = _names("deserialize get serialize")
FUNCTIONS = (
    frozenset().union(
        *(_public(each, inspect.isfunction) for each in (keras.activations, keras.losses, keras.metrics))
    )
    - _LOADERS
)
# String values that an option may have, including older names.
WORDS = (
    PARTS
    | FUNCTIONS
    | (
        frozenset().union(
            *(
                _public(each, lambda value: inspect.isclass(value) or inspect.isfunction(value))
                for each in (keras.initializers, keras.regularizers, keras.constraints)
            )
        )
        - _LOADERS
    )
    | _names("exponential uniform normal one zero softmax_v2 auto")
)

# Layers of tfmot and their parts, inside a `BridgedModel`.
OF_TFMOT = _names("""
    PruneLowMagnitude ClusterWeights ClusterWeightsRNN QuantizeAnnotate QuantizeAwareActivation
    NoOpActivation QuantizeWrapper QuantizeWrapperV2 QuantizeLayer OutputOnlyConfig FixedQuantizeConfig
    Default8BitQuantizeConfig Default8BitQuantizeConfigRNN Default8BitActivationQuantizeConfig
    Default8BitConvQuantizeConfig NoOpQuantizeConfig Default8BitOutputQuantizeConfig
    Default8BitConvTransposeQuantizeConfig DefaultNBitQuantizeConfig DefaultNBitActivationQuantizeConfig
    DefaultNBitConvQuantizeConfig DefaultNBitOutputQuantizeConfig DefaultNBitConvTransposeQuantizeConfig
    AllValuesQuantizer LastValueQuantizer MovingAverageQuantizer FixedQuantizer NoQuantizer ConstantSparsity
    PolynomialDecay OverFit DotProductOfHeads
""")

CLASSES = LAYERS | OF_APPLICATIONS | MODELS | OPERATIONS | PARTS
# Where Keras looks for its own classes; it would import any other module.
PACKAGES_OF_KERAS = _names("""
    activations applications constraints distillation dtype_policies engine initializers layers losses
    metrics mixed_precision models ops optimizers quantizers regularizers random
""")
# Values that are not Keras objects.
VALUES = _names("__keras_tensor__ __slice__ __ellipsis__ __bytes__ __tuple__ TensorShape")
ARRAYS = _names("__tensor__ __numpy__")
DTYPES = _names("""
    bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 bfloat16 float16 float32 float64
""")


def of_hub_computes(found: Any) -> bool:
    """Whether a registered object does not belong to keras-hub, or does nothing but compute.

    keras-hub registers everything it has, including what reads and uploads files: tokenizers,
    preprocessors, preset functions. tfkd imports it for files that need it, and must not allow all of that.
    """
    package = getattr(found, "__module__", "").partition(".")[0]
    if package != "keras_hub":
        return True
    if not inspect.isclass(found):
        return found.__name__ in _FUNCTIONS_OF_HUB
    parts = {part for base in found.__mro__ for part in base.__module__.split(".")}
    return issubclass(found, keras.Layer) and not parts & _FOR_FILES_OF_HUB


_FUNCTIONS_OF_HUB = _names("gelu_approximate")
# Modules of keras-hub whose classes may not be a base class.
_FOR_FILES_OF_HUB = _names("tokenizers preprocessing preprocessor")
