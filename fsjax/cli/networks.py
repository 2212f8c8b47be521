"""The networks that have a name: what they are, their size and licence, and whether their weights are here.

    fsjax networks
    fsjax networks dinov2-small
    fsjax predict --run efficientnet_lite0 --support few --query many
    fsjax evaluate efficientnet_lite0 --source folder --data-path pictures --shots 1 5 --query 5

A name stands wherever a run's folder does, unless there is a folder of that name. In Python: fsjax.network(NAME).
A folder of a network, as Hugging Face's transformers writes it, does too, and is described where it is named here.
Weights of the names come with packages of the package registry; only hf://OWNER/MODEL is downloaded.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "network", nargs="?", help="a name, a folder in the layout of transformers, or hf://OWNER/MODEL, to describe"
    )


def run(args: argparse.Namespace) -> None:
    """Print a few lines for each network, or describe one."""
    if args.network is not None:
        from fsjax.runs import network

        print(network(args.network).summary())
        return
    from fsjax.networks import DEFAULT, NETWORKS

    for one in NETWORKS.values():
        default = "; the network of `fsjax predict` where no --run is given" if one.name == DEFAULT else ""
        print(
            f"{one.name}: for photographs, trained on {one.trained_on}{default}\n"
            f"  images {one.image_size}x{one.image_size}; {one.parameters:,} parameters; {one.size / 1e6:.1f} MB; "
            f"{one.licence}\n"
            f"  {f'here: {one.path}' if one.is_here else f'not here: pip install {one.package}'}"
        )
    print("starter: for symbols, logos and drawings, trained on drawings that fsjax makes\n  comes with fsjax")
