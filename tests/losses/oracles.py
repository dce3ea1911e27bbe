"""What each method computes, in NumPy and float64, written from the formulas."""

import itertools
import math

import numpy as np


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def softmax(z):
    return np.exp(log_softmax(z))


def soft_targets(t, s, temperature=1.0):
    log_t, log_s = log_softmax(t / temperature), log_softmax(s / temperature)
    return temperature**2 * (np.exp(log_t) * (log_t - log_s)).sum(-1)


def bernoulli_targets(t, s, temperature=1.0):
    p, q = (1 / (1 + np.exp(-z / temperature)) for z in (t, s))
    divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return temperature**2 * divergence.sum(-1)


def mean_squared_error(t, s):
    return ((t - s) ** 2).mean(-1)


def l1_logits(t, s):
    return np.abs(t - s).mean(-1)


def decoupled_knowledge(t, s, labels, alpha=1.0, beta=8.0, temperature=4.0):
    shape, classes = t.shape[:-1], t.shape[-1]
    t, s, labels = t.reshape(-1, classes), s.reshape(-1, classes), labels.ravel()
    values = []
    for a, b, label in zip(t / temperature, s / temperature, labels, strict=True):
        p, q = softmax(a), softmax(b)
        target = p[label] * np.log(p[label] / q[label])
        target += (1 - p[label]) * np.log((1 - p[label]) / (1 - q[label]))
        p, q = (softmax(np.delete(z, label)) for z in (a, b))
        values.append(temperature**2 * (alpha * target + beta * (p * np.log(p / q)).sum()))
    return np.array(values).reshape(shape)


def dist(t, s, beta=1.0, gamma=1.0, temperature=1.0):
    p, q = (softmax(z.reshape(-1, z.shape[-1]) / temperature) for z in (t, s))

    def correlation(a, b):
        a, b = a - a.mean(), b - b.mean()
        return (a * b).sum() / (np.sqrt((a * a).sum()) * np.sqrt((b * b).sum()) + 1e-8)

    rows = np.mean([1 - correlation(a, b) for a, b in zip(p, q, strict=True)])
    columns = np.mean([1 - correlation(a, b) for a, b in zip(p.T, q.T, strict=True)])
    return np.asarray(temperature**2 * (beta * rows + gamma * columns))


def logit_standardization(t, s, temperature=2.0):
    t, s = ((z - z.mean(-1, keepdims=True)) / (z.std(-1, keepdims=True, ddof=1) + 1e-7) for z in (t, s))
    return soft_targets(t, s, temperature)


def multi_level_logits(t, s, temperatures=(2, 3, 4, 5, 6), instance=1, batch=1, classes=1):
    t, s = (z.reshape(-1, z.shape[-1]) for z in (t, s))
    total = 0.0
    for temperature in temperatures:
        p, q = softmax(t / temperature), softmax(s / temperature)
        total += instance * soft_targets(t, s, temperature).mean()
        total += batch * ((p @ p.T - q @ q.T) ** 2).sum() / len(p)
        total += classes * ((p.T @ p - q.T @ q) ** 2).sum() / p.shape[1]
    return np.asarray(total)


def teacher_free(s, labels, correct=0.99, temperature=20.0):
    classes = s.shape[-1]
    virtual = np.full(s.shape, (1 - correct) / (classes - 1))
    np.put_along_axis(virtual, labels[..., None], correct, -1)
    log_t, log_s = log_softmax(virtual / temperature), log_softmax(s)
    return (np.exp(log_t) * (log_t - log_s)).mean(-1)


def pooled(maps, size):
    """Adaptive average pooling, window by window."""
    n, height, width, channels = maps.shape
    out = np.zeros((n, size, size, channels))
    for i in range(size):
        for j in range(size):
            rows = slice(i * height // size, math.ceil((i + 1) * height / size))
            columns = slice(j * width // size, math.ceil((j + 1) * width / size))
            out[:, i, j] = maps[:, rows, columns].mean((1, 2))
    return out


def same_size(t, s):
    if t.ndim != 4:
        return t, s
    size = min(t.shape[1], s.shape[1])
    return pooled(t, size), pooled(s, size)


def hint(t, s):
    t, s = same_size(t, s)
    return ((t - s) ** 2).reshape(len(t), -1).mean(1)


def unit(x, axis):
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def attention_transfer(t, s, power=2):
    t, s = same_size(t, s)
    q_t, q_s = (unit((np.abs(x) ** power).mean(-1).reshape(len(x), -1), 1) for x in (t, s))
    return ((q_t - q_s) ** 2).mean(1)


def gradient_attention(t, s):
    return 0.5 * np.linalg.norm((t - s).reshape(len(t), -1), axis=1)


def fsp(t, s):
    def flow(low, high):
        size = min(low.shape[1], high.shape[1])
        low, high = (pooled(x, size).reshape(len(x), size * size, -1) for x in (low, high))
        return np.stack([a.T @ b / size**2 for a, b in zip(low, high, strict=True)])

    return ((flow(*t) - flow(*s)) ** 2).mean((1, 2))


def similarity_preserving(t, s):
    grams = [x.reshape(len(x), -1) @ x.reshape(len(x), -1).T for x in (t, s)]
    difference = unit(grams[0], 1) - unit(grams[1], 1)
    return np.asarray((difference**2).sum() / len(t) ** 2)


def huber(x):
    return np.where(np.abs(x) < 1, 0.5 * x**2, np.abs(x) - 0.5)


def relational(t, s, distance_weight=25.0, angle_weight=50.0):
    def parts(x):
        x = x.reshape(len(x), -1)
        apart = x[None] - x[:, None]
        distances = np.linalg.norm(apart, axis=2)
        directions = apart / np.where(distances > 0, distances, 1)[..., None]
        angles = np.einsum("ijd,ikd->ijk", directions, directions)
        positive = distances[distances > 0]
        return distances / (positive.mean() if positive.size else 1.0), angles

    (d_t, a_t), (d_s, a_s) = parts(t), parts(s)
    return np.asarray(distance_weight * huber(d_s - d_t).mean() + angle_weight * huber(a_s - a_t).mean())


def probabilistic_transfer(t, s):
    def neighbours(x):
        x = x.reshape(len(x), -1)
        x = x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-7)
        similarities = (x @ x.T + 1) / 2
        return similarities / similarities.sum(1, keepdims=True)

    p, q = neighbours(t), neighbours(s)
    return np.asarray((p * np.log((p + 1e-7) / (q + 1e-7))).mean())


def correlation_congruence(t, s):
    difference = np.abs(t - s).reshape(len(t), -1)
    return np.asarray((difference[:-1] * difference[1:]).sum(1).mean() if len(t) > 1 else 0.0)


def correlation_congruence_taylor(t, s, order=2, gamma=0.4):
    def kernel(x):
        x = unit(x.reshape(len(x), -1), 1)
        terms = [(2 * gamma) ** p / math.factorial(p) * (x @ x.T) ** p for p in range(order + 1)]
        return math.exp(-2 * gamma) * sum(terms)

    return np.asarray(((kernel(t) - kernel(s)) ** 2).mean())


def neuron_selectivity(t, s):
    t, s = same_size(t, s)
    t, s = (unit(x.reshape(len(x), -1, x.shape[-1]), 1) for x in (t, s))

    def kernel(a, b):
        return np.array([((x.T @ y) ** 2).mean() for x, y in zip(a, b, strict=True)])

    return kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)


def factor_transfer(t, s, power=1):
    t, s = same_size(t, s)
    f_t, f_s = (unit((x**2).mean(-1).reshape(len(x), -1), 1) for x in (t, s))
    return (np.abs(f_t - f_s) ** power).mean(1)


def activation_boundary(t, s, margin=1.0):
    t, s = same_size(t, s)
    values = (s + margin) ** 2 * ((s > -margin) & (t <= 0)) + (s - margin) ** 2 * ((s <= margin) & (t > 0))
    return 3 / 1000 * values.reshape(len(t), -1).sum(1)


def variational_information(t, mean, variance):
    t, mean = same_size(t, mean)
    values = 0.5 * ((t - mean) ** 2 / variance + np.log(variance))
    return values.reshape(len(t), -1).mean(1)


def overhaul(t, s, margin):
    t, s = same_size(t, s)
    total = np.zeros(s.shape)
    margin = np.broadcast_to(margin, s.shape)
    total[(s > margin) & (t <= margin)] = ((s - margin) ** 2)[(s > margin) & (t <= margin)]
    total[(s > t) & (t > margin) & (t <= 0)] = ((s - t) ** 2)[(s > t) & (t > margin) & (t <= 0)]
    total[t > 0] = ((s - t) ** 2)[t > 0]
    return total.reshape(len(t), -1).sum(1) / 1000


def review_kd(t, s):
    t, s = same_size(t, s)
    total, weights = hint(t, s), 1.0
    for grid, weight in ((4, 1 / 2), (2, 1 / 4), (1, 1 / 8)):
        if grid < t.shape[1]:
            share = weight if t.shape[1] > 4 else weight * 2 if t.shape[1] > 2 else weight * 4
            total = total + share * hint(pooled(t, grid), pooled(s, grid))
            weights += share
    return total / weights


def contrastive(scores, examples):
    negatives = scores.shape[1] - 1
    noise = negatives / examples
    right = np.log(scores[:, 0] / (scores[:, 0] + noise + 1e-7))
    wrong = np.log(noise / (scores[:, 1:] + noise + 1e-7)).sum(1)
    return -(right + wrong)


def singular_values(teacher, student, k=1):
    def vectors(maps, n):
        x = maps.reshape(-1, maps.shape[-1])
        _, values, v = np.linalg.svd(x, full_matrices=False)
        v = v[:n] * np.where(v[:n].sum(1, keepdims=True) < 0, -1, 1)
        return values[:n] / np.linalg.norm(values[:n]), v.T

    def one(ts, ss):
        total, before = 0.0, None
        for t, s in zip(ts, ss, strict=True):
            (scale, v_t), (_, v_s) = vectors(t, k), vectors(s, k + 3)
            cosines = v_s.T @ v_t
            picked = np.abs(cosines).argmax(0)
            aligned = v_s[:, picked] * np.sign(cosines[picked, np.arange(k)])
            now = v_t * scale, aligned * scale
            if before is not None:
                kernels = [
                    np.exp(-((high[:, None] - low[None]) ** 2) / 8)
                    for high, low in zip(now, before, strict=True)
                ]
                total += ((kernels[0] - kernels[1]) ** 2).sum()
            before = now
        return total

    return np.array([one([t[i] for t in teacher], [s[i] for s in student]) for i in range(len(teacher[0]))])


def cosine_embedding(t, s):
    return 1 - (unit(t, -1) * unit(s, -1)).sum(-1)


def score_difference(s, k=3):
    scores = -np.sort(-np.exp(log_softmax(s)), axis=-1)
    return scores[..., 0] - scores[..., 1:k].mean(-1)


def confidence(teachers, labels=None):
    """Weights `(teachers, ...)` by the cross-entropy of labels, or by entropy."""
    logs = [log_softmax(t) for t in teachers]
    if labels is None:
        uncertain = np.stack([-(np.exp(each) * each).sum(-1) for each in logs])
    else:
        uncertain = -np.stack([np.take_along_axis(each, labels[..., None], -1)[..., 0] for each in logs])
    return (1 - np.exp(uncertain) / np.exp(uncertain).sum(0)) / (len(teachers) - 1)


def weighted_teachers(teachers, s, weights=None, labels=None):
    if isinstance(weights, str):
        weights = confidence(teachers, labels)
    else:
        weights = np.ones(len(teachers)) if weights is None else np.asarray(weights, float)
        weights = weights / weights.sum()
    return sum(w * soft_targets(t, s) for w, t in zip(weights, teachers, strict=True))


def relative_dissimilarity(teachers, s, margin=0.1):
    teachers, s = [t.reshape(len(t), -1) for t in teachers], s.reshape(len(s), -1)
    values = []
    for i, j, k in itertools.permutations(range(len(s)), 3):
        nearer = [np.linalg.norm(t[i] - t[j]) < np.linalg.norm(t[i] - t[k]) for t in teachers]
        if 2 * sum(nearer) > len(teachers):
            gap = np.linalg.norm(s[i] - s[j]) - np.linalg.norm(s[i] - s[k])
            values.append(max(0.0, gap + margin))
    return np.asarray(np.mean(values) if values else 0.0)


def weighted_soft_targets(t, s, labels, temperature=2.0):
    entropy_t, entropy_s = (
        -np.take_along_axis(log_softmax(z), labels[..., None], -1)[..., 0] for z in (t, s)
    )
    return (1 - np.exp(-entropy_s / (entropy_t + 1e-7))) * soft_targets(t, s, temperature)


def channel_wise(t, s, temperature=4.0):
    t, s = same_size(t, s)
    t, s = (np.moveaxis(x.reshape(len(x), -1, x.shape[-1]), 1, 2) for x in (t, s))
    return soft_targets(t, s, temperature).mean(1)


def pearson_features(t, s):
    t, s = (x.reshape(-1, x.shape[-1]) for x in same_size(t, s))
    if len(t) == 1:
        return np.asarray(0.0)
    return np.asarray(np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(t.T, s.T, strict=True)]))


def simple_recipe(t, s, exponent=4.0):
    t, s = (x.reshape(len(x), -1, x.shape[-1]).mean(1) for x in (t, s))
    t, s = ((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-6) for x in (t, s))
    return np.asarray(np.log((np.abs(t - s) ** exponent).sum() + 1e-5))


def inter_channel_correlation(t, s, grid=(1, 1)):
    t, s = same_size(t, s)

    def correlations(x):
        x = x.reshape(-1, x.shape[-1])
        return unit(x.T @ x, 1)

    def one(t, s):
        if t.ndim == 2:
            return ((correlations(t) - correlations(s)) ** 2).sum() / t.shape[-1]
        height, width = len(t) // grid[0], t.shape[1] // grid[1]
        cells = [
            np.s_[i * height : (i + 1) * height, j * width : (j + 1) * width]
            for i in range(grid[0])
            for j in range(grid[1])
        ]
        return np.mean(
            [((correlations(t[c]) - correlations(s[c])) ** 2).sum() / t.shape[-1] for c in cells]
        )

    return np.array([one(a, b) for a, b in zip(t, s, strict=True)])


def prime_aware(t, s, log_variance):
    t, s = same_size(t, s)
    values = (t - s) ** 2 / (np.exp(log_variance) + 1e-6) + log_variance
    return values.reshape(len(t), -1).mean(1)


def masked_generative(t, s):
    t, s = same_size(t, s)
    return ((t - s) ** 2).reshape(len(t), -1).sum(1)


def attention_guided(t, s, attention_weight=4e-3, masked_weight=7e-5, temperature=0.1):
    t, s = same_size(t, s)
    t, s = (x.reshape(len(x), -1, x.shape[-1]) for x in (t, s))
    values = []
    for a, b in zip(t, s, strict=True):
        attention = 0.0
        weights = np.ones(a.shape)
        for axis in (0, 1):
            strengths = np.abs(a).mean(axis), np.abs(b).mean(axis)
            attention += np.linalg.norm(strengths[0] - strengths[1])
            shares = softmax(sum(strengths) / temperature) * a.shape[1 - axis]
            weights = weights * np.expand_dims(shares, axis)
        masked = np.sqrt((weights * (a - b) ** 2).sum())
        values.append(attention_weight * attention + masked_weight * masked)
    return np.array(values)


def rotations(embeddings):
    """Cosines of each rotation with all images, and which image it was made from."""
    views = unit(embeddings, 1).reshape(-1, 4, embeddings.shape[1])
    cosines = views[:, 1:].reshape(-1, embeddings.shape[1]) @ views[:, 0].T
    return cosines, np.repeat(np.arange(len(views)), 3)


def self_supervised(
    t, s, transformation=2.7, similarity=10.0, temperature=4.0, of_similarity=0.5, kept=0.75
):
    turned = np.arange(len(t[1])) % 4 > 0
    transformed = soft_targets(t[1][turned], s[1][turned], temperature).mean()
    (cosines, own), (student, _) = rotations(t[0]), rotations(s[0])
    ranks = np.array([(row > row[i]).sum() for row, i in zip(cosines, own, strict=True)])
    count = (ranks == 0).sum() + int(kept * (ranks > 0).sum())
    chosen = np.argsort(ranks, kind="stable")[:count]
    similar = soft_targets(cosines[chosen], student[chosen], of_similarity).mean()
    return np.asarray(transformation * transformed + similarity * similar)


def pretext_task(embeddings):
    cosines, own = rotations(embeddings)
    return np.asarray(-log_softmax(cosines)[np.arange(len(own)), own].mean())


def confidence_of_teacher(t, power=1.0):
    weights = softmax(t).max(-1) ** power
    return weights / weights.mean()


def hidden_states(t, s):
    return ((t - s) ** 2).mean(-1)


def first_tokens(*features):
    return [x[:, 0] if x.ndim == 3 else x for x in features]


def cls_hint(t, s):
    t, s = first_tokens(t, s)
    return ((t - s) ** 2).mean(-1)


def patient_cls(t, s):
    t, s = first_tokens(t, s)
    return ((unit(t, -1) - unit(s, -1)) ** 2).mean(-1)


def cross_entropies(s, labels):
    """Of each position whose label is not -100; 0 at others."""
    values = np.zeros(labels.shape)
    for at in np.argwhere(labels != -100):
        at = tuple(at)
        values[at] = -log_softmax(s[at])[labels[at]]
    return values


def masked_language_modeling(s, labels):
    return cross_entropies(s, labels)


def causal_language_modeling(s, labels, shift=False):
    if shift:
        labels = np.concatenate([labels[:, 1:], np.full((len(labels), 1), -100)], 1)
    return cross_entropies(s, labels)


def reverse_kl(t, s, temperature=1.0):
    return soft_targets(s, t, temperature)


def generalized_jsd(t, s, beta=0.5, temperature=1.0):
    p, q = softmax(t / temperature), softmax(s / temperature)
    m = beta * p + (1 - beta) * q
    values = beta * (p * np.log(p / m)).sum(-1) + (1 - beta) * (q * np.log(q / m)).sum(-1)
    return temperature**2 * values


def lengths_of(mask, t):
    """How many tokens each example has, which are its first ones."""
    return [t.shape[-1]] * len(t) if mask is None else [int(row.sum()) for row in mask]


def attention_scores(t, s, mask=None):
    """Example by example, each cut to its own length."""
    t, s = (np.where(x <= -100, 0, x) for x in (t, s))
    lengths = lengths_of(mask, t)
    pairs = [(a[:, :n, :n], b[:, :n, :n]) for a, b, n in zip(t, s, lengths, strict=True)]
    return np.array([((a - b) ** 2).mean() for a, b in pairs])


def attention_kl(t, s, mask=None):
    """Example by example, each cut to its own length, head by head and row by row."""
    values = []
    for a, b, n in zip(t, s, lengths_of(mask, t), strict=True):
        rows = [soft_targets(a[h, i, :n], b[h, i, :n]) for h in range(len(a)) for i in range(n)]
        values.append(np.sum(rows) / (len(a) * n))
    return np.array(values)


def relations(x, heads):
    """Scores of the tokens of one sequence `(tokens, heads, width)` with each other."""
    joined = x.reshape(len(x), -1)
    width = joined.shape[1] // heads
    split = [joined[:, i * width : (i + 1) * width] for i in range(heads)]
    return np.stack([part @ part.T / np.sqrt(width) for part in split])


def self_attention_relations(t, s, heads=None, mask=None):
    lengths = [len(x) for x in t] if mask is None else [int(row.sum()) for row in mask]
    values = []
    for a, b, n in zip(t, s, lengths, strict=True):
        a, b = (relations(x[:n], heads or x.shape[1]) for x in (a, b))
        values.append(attention_kl(a[None], b[None])[0])
    return np.array(values)
