"""The tables of the paper of AttNet and AffNet, end-to-end localization."""

from fsjax.report.papers.tables import Paper, Recipe, Study, Table, Training

TITLE = "Hanselmann & Ney, Fine-grained visual classification with efficient end-to-end localization (AttNet, AffNet)"
BETAS = ("method.localization.beta_att", "method.localization.beta_aff")
LAMBDAS = ("method.localization.lambda_att", "method.localization.lambda_aff")
# Table 2's rows: the config's variant.
ABLATION = {
    "Baseline": "baseline", "No local supervision": "no_local", "No end-to-end": "no_end_to_end",
    "No gradient from AffNet to AttNet": "no_att_gradient", "End-to-end": "",
}  # fmt: skip
# Table 3's columns: the config, and where its data lie.
BENCHMARKS = {
    "CUB200-2011": ("cub", ""),
    "Stanford Cars": ("cars", "/data/stanford_cars"),
    "FGVC Aircraft": ("aircraft", "/data/fgvc-aircraft-2013b"),
}
ELOPE = "fsjax has ELoPE's embedding loss and pooling, and not its localization, which is trained apart"


def setting(data: str, *variants: str) -> Training:
    """A run of the paper's recipe, or of a variant of the config."""
    name, path = BENCHMARKS[data]
    parts = ",".join(part for part in variants if part)
    folder = "_".join(["localize", name, *(part for part in variants if part)])
    return Training(f"localize_{name}" + (f":{parts}" if parts else ""), folder, data_path=path)


def alone(row: str, column: str) -> Recipe:
    """A cell of Table 1: networks that read the attention maps of a classifier without localization."""
    out = "python -m benchmarks.studies.affnet --run FOLDER --out runs/affnet_cub.jsonl"
    return Recipe(setting("CUB200-2011", "baseline"), None, (out,))


def ablation(row: str, column: str) -> Recipe:
    """A cell of Table 2."""
    return Recipe(setting("CUB200-2011", ABLATION[row]))


def benchmarks(row: str, column: str) -> Recipe | str:
    """A cell of Table 3."""
    if row == "ELoPE [7]":
        return f"reported from the literature; {ELOPE}"
    if not row.startswith("Ours"):
        return "reported from the literature; fsjax does not have this method"
    if row == "Ours (setting 1)":
        return Recipe(setting(column))
    return Recipe(
        setting(column, "setting2"), only=(("method.localization.emb_dim", 1024), ("model.resnet101.stem", "C"))
    )


def runtime(row: str, column: str) -> Recipe:
    """A cell of the runtimes in the text."""
    return Recipe(None, None, ("python -m benchmarks.localizer_cost --sizes 448 --batch 1",))


TABLE_1 = Table(
    "Table 1",
    "AffNet and other networks that estimate the box of an attention map, each with and without pre-processing.",
    """
    Network   | Prep. module | Parameters | Runtime (ms) | SL1 error (×10⁻³) | IoU > 0.8 | IoU > 0.95
    FFNN      |              | 6500       | 0.1          | 6.4               | 0.46      | 0.00
    FFNN      | ✓            | 6501       | 0.3          | 4.3               | 0.61      | 0.01
    ResNet-S  |              | 241732     | 0.9          | 2.7               | 0.80      | 0.01
    ResNet-S  | ✓            | 241733     | 1.0          | 1.1               | 0.97      | 0.09
    ResNet-50 |              | 23516228   | 28.6         | 5.4               | 0.47      | 0.01
    ResNet-50 | ✓            | 23516229   | 30.4         | 1.9               | 0.88      | 0.02
    AffNet    |              | 4868       | 0.2          | 2.7               | 0.81      | 0.02
    AffNet    | ✓            | 4869       | 0.4          | 0.5               | 0.98      | 0.54
    """,
    alone,
    labels=2,
    studies=(
        Study(
            "Localization: AffNet alone, Table 1",
            """
            | network | pre-processing | parameters | SL1 ×10⁻³ | IoU > 0.8 | IoU > 0.95 | ms, one map | steps |
            | FFNN |  | 6,500 | 9.17 [6.4] | 0.094 [0.46] | 0.001 [0.00] | 0.02 | 10,000 |
            | FFNN | ✓ | 6,501 | 2.21 [4.3] | 0.396 [0.61] | 0.004 [0.01] | 0.02 | 10,000 |
            | ResNet-S |  | 241,732 | 2.65 [2.7] | 0.331 [0.80] | 0.003 [0.01] | 0.16 | 3,000 |
            | ResNet-S | ✓ | 241,733 | 0.94 [1.1] | 0.676 [0.97] | 0.014 [0.09] | 0.41 | 3,000 |
            | ResNet-50, at 56x56 |  | 23,516,228 | 10.39 [5.4] | 0.050 [0.47] | 0.001 [0.01] | 54.03 | 200 |
            | ResNet-50, at 56x56 | ✓ | 23,516,229 | 5.24 [1.9] | 0.102 [0.88] | 0.001 [0.02] | 81.15 | 200 |
            | AffNet |  | 4,868 | 4.34 [2.7] | 0.279 [0.81] | 0.001 [0.02] | 0.03 | 10,000 |
            | AffNet | ✓ | 4,869 | 0.39 [0.5] | 0.949 [0.98] | 0.463 [0.54] | 0.03 | 10,000 |
            """,
            rows=tuple(
                f"{network}{prep}"
                for network in ("FFNN", "ResNet-S", "ResNet-50", "AffNet")
                for prep in ("", ", Prep. module")
            ),
            columns=("", "", "Parameters", "SL1 error (×10⁻³)", "IoU > 0.8", "IoU > 0.95", "Runtime (ms)", ""),
            reduced="6,000 maps to train on and 2,000 to test on; ResNet-50 on maps of 56x56, not 224x224, for 200 "
            "steps; runtimes on a busy machine, good to a factor of three; of the parameters nothing is reduced",
            spread="one seed",
            command="python -m benchmarks.studies.affnet --resnet50-size=56 --out table1.jsonl",
            date="2026-11-22",
            data="synthetic attention maps (a few Gaussian blobs and noise)",
        ),
    ),
    note="Our figures come from the command's own table, not from a run's folder.",
)

TABLE_2 = Table(
    "Table 2",
    "Parts of the method on CUB200-2011, setting 1, accuracy in %; the marks are as the paper prints them.",
    """
    Description                       | L_att and L_aff | β_att | β_aff | Accuracy [%]
    Baseline                          |                 |       |       | 87.0
    No local supervision              |                 | ✓     | ✓     | 86.9
    No end-to-end                     | ✓               |       |       | 88.1
    No gradient from AffNet to AttNet | ✓               |       | ✓     | 88.4
    End-to-end                        | ✓               | ✓     | ✓     | 88.5
    """,
    ablation,
    labels=4,
    studies=(
        Study(
            "Localization: Table 2 on tiny_imagenet_fs, reduced recipe",
            """
            | row | accuracy, % | − whole image | IoU: AffNet | AttNet alone | classifier's map | whole image |
            | the whole image (`:baseline`) | 31.16 ± 0.66 | – | 0.546 | 0.546 | 0.543 ± 0.005 | 0.546 |
            | no local supervision (`:no_local`) | 27.26 ± 2.48 | −3.90 ± 2.47 | 0.526 ± 0.025 | 0.547 ± 0.002 | 0.547 ± 0.004 | 0.546 |
            | no end-to-end (`:no_end_to_end`) | 31.56 ± 0.30 | +0.40 ± 0.38 | 0.550 ± 0.007 | 0.552 ± 0.004 | 0.548 ± 0.001 | 0.546 |
            | no gradient from AffNet to AttNet (`:no_att_gradient`) | 31.17 ± 1.03 | +0.01 ± 0.38 | 0.544 ± 0.005 | 0.550 ± 0.004 | 0.546 ± 0.006 | 0.546 |
            | end-to-end | 30.63 ± 0.68 | −0.52 ± 0.42 | 0.541 ± 0.003 | 0.546 | 0.547 ± 0.005 | 0.546 |
            """,  # noqa: E501 - a line of docs/results.md
            rows=tuple(ABLATION),
            columns=("", "Accuracy [%]", "", "", "", "", ""),
            reduced="a small ResNet from scratch, not ResNet-101 from ImageNet's weights; crops of 32x32, not 448x448; "
            "1,200 steps of 64 with Adam, not 90 epochs of 14 with SGD",
            spread="± deviation over 3 seeds",
            command="python -m benchmarks.studies.localize tiny",
            date="2026-11-22",
            data="tiny_imagenet_fs (60 classes of Tiny ImageNet)",
        ),
        Study(
            "Localization: planted digits, an exact answer",
            "Accuracy with the localizer, and of `:baseline`, the same network on whole images at the same resolution: "
            "95.3 and 93.5 % (seed 0), 95.5 and 95.4 % (seed 1);",
            cells={
                ("Baseline", "Accuracy [%]"): "93.5, 95.4",
                ("End-to-end", "Accuracy [%]"): "95.3, 95.5",
            },
            reduced="a small ResNet from scratch, not ResNet-101 from ImageNet's weights; crops of 32x32, not 448x448; "
            "1,500 steps of 64 with Adam, not 90 epochs of 14 with SGD; tau 0.5, not 0.3; softmax, not ELoPE's loss",
            spread="seeds 0 and 1",
            command="python -m benchmarks.studies.localize planted --rows baseline end_to_end --seeds 0 1",
            date="2026-11-22",
            data="planted digits",
        ),
    ),
    other_data=True,
)

TABLE_3 = Table(
    "Table 3",
    "Accuracy in % beside the state of the art. Setting 1: ResNet-101 and an embedding layer of 512; setting 2: the "
    "ResNet-C stem and 1,024.",
    """
    Method            | CUB200-2011 | Stanford Cars | FGVC Aircraft
    STN [10]          | 84.1        | -             | -
    RA-CNN [9]        | 85.3        | 92.5          | -
    ISE [12]          | 87.2        | 94.1          | 90.9
    NTS-Net [21]      | 87.5        | 93.9          | 91.4
    DCL [8]           | 87.8        | 94.5          | 93.0
    OSME-MAMC [18]    | 86.5        | 93.0          | -
    iSQRT-COV [14]    | 88.7        | 93.3          | 91.4
    CS Parts [12]     | 89.5        | 92.5          | -
    Spatial RNN [20]  | 89.7        | 93.4          | 88.4
    Stacked LSTM [6]  | 90.4        | -             | -
    GPipe [10]        | -           | 94.8          | 92.9
    AutoAugm [3]      | -           | 94.8          | 92.7
    TResNet [16]      | -           | 96.0          | -
    ELoPE [7]         | 88.5        | 95.0          | 93.5
    API-Net [25]      | 90.0        | 95.3          | 93.9
    TBMSL-Net [22]    | 89.6        | 94.7          | 94.5
    Ours (setting 1)  | 88.5        | 95.3          | 93.9
    Ours (setting 2)  | 88.9        | 95.6          | 94.1
    """,
    benchmarks,
    note="The paper's citation numbers are shifted; they are printed here as they are there. Its pretraining leaves "
    "out the pictures that are in ImageNet; the public weights that fsjax loads have seen some of them.",
)

TEXT = Table(
    "Sec. 3.2, text",
    "Runtime of a forward pass in ms: the classifier alone, and with the localization module.",
    """
    Network    | classifier | with localization
    ResNet-101 | 162        | 164
    """,
    runtime,
    studies=(
        Study(
            "Localization: what it costs",
            "medians of seven forward passes in turns on two quiet cores: 272 ms for the classifier, 279 ms with "
            "AttNet, AffNet and the crop,",
            cells={("ResNet-101", "classifier"): "272", ("ResNet-101", "with localization"): "279"},
            reduced="two CPU cores, not the paper's GPU; random weights; of the model nothing is reduced",
            spread="medians of 7",
            command="python -m benchmarks.localizer_cost --sizes 448 --batch 1 --rounds 7",
            date="2026-11-22",
        ),
    ),
)

PAPER = Paper(
    TITLE,
    (TABLE_1, TABLE_2, TABLE_3, TEXT),
    identity=("method.name", *BETAS, *LAMBDAS),
    figures=(
        (
            "Fig. 3, boxes on pictures",
            (*setting("CUB200-2011").commands, "fsjax localize runs/localize_cub --out boxes.png"),
        ),
    ),
)
