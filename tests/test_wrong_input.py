"""Every kind of wrong input: a row with what is typed or called, the exit code, and what the one line says.

All rows run in one process with everything imported. A command line goes through ``run.py`` as if typed. After every
row the working folder holds just what it held before: nothing is left that would be in the corrected start's way.
"""

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from torch import nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from hostile_inputs import write_world
from relsplit import LRP, heat_quantization
from relsplit.attribution import AttributionMap
from relsplit.bench.data.archive import extract
from relsplit.bench.data.demo import generate_demo
from relsplit.bench.data.sampling import class_balanced
from relsplit.bench.data.transforms import EvaluationTransform
from relsplit.errors import InputError
from relsplit.explainers import RISE, GradCAM, IntegratedGradients, ScoreCAM, SmoothGrad
from relsplit.metrics import InsertionDeletion, energy_inside, gini, max_sensitivity, pointing_game
from small_runs import ROOT, TINY_NETWORK

Row = tuple[str, int, str]

SMALL = (
    "dataset=image_folder model=demo dataset.root=$W/photographs dataset.image_size=32 dataset.resize=32 "
    "dataset.num_workers=0 num_samples=9 model.checkpoint=$W/weights.pt task.batch_size=4 logger=none device=cpu"
)
TRAINING = (
    "task=train dataset=image_folder dataset.root=$W/photographs dataset.image_size=32 dataset.resize=32 "
    f"dataset.num_workers=0 {shlex.join(TINY_NETWORK)} model.num_classes=3 trainer.max_epochs=1 trainer.batch_size=5 "
    "logger=none device=cpu"
)
CUB = f"{SMALL} dataset=cub model=demo dataset.catalogue.num_val=1 model.checkpoint=$W/weights2.pt num_samples=4"
ONE_ROW = "experiment=otsuki2024/table1 reproduce.product.reference=null"

EVALUATE: list[Row] = [
    # What is no setting, group or value of one.
    ("explainer=unheard_of", 2, "explainer/unheard_of"),
    ("dataset=unheard_of", 2, "dataset/unheard_of"),
    ("protocol=[published,unheard_of]", 2, "protocol/unheard_of"),
    ("metric=[unheard_of]", 2, "metric/unheard_of"),
    ("model=resnet51", 2, "model/resnet51"),
    ("map=unheard_of", 2, "map/unheard_of"),
    ("split=thirds", 2, "split/thirds"),
    ("logger=tensorboard", 2, "logger/tensorboard"),
    ("task=evaluete", 2, "task/evaluete"),
    ("trainer=fast", 2, "trainer/fast"),
    ("num_sample=4", 2, "num_sample is no setting; did you mean num_samples"),
    ("explainr=ours", 2, "explainr is no setting; did you mean explainer"),
    ("explainer=our", 2, "did you mean ours"),
    ("explainer.splitt=ratio", 2, "explainer.splitt is no setting; did you mean explainer.split"),
    ("explainer.against=rivals", 2, "no setting of what is chosen; it comes with explainer=class_evidence"),
    ("metric.grid_pointing.cells=3", 2, "no setting of what is chosen; it comes with metric=grid_pointing"),
    ("metric.grid_pointin.cells=3", 2, "did you mean metric.grid_pointing.cells"),
    ("metric=[grid_pointing,road] metric.raod.steps=3", 2, "did you mean metric.road"),
    ("task.imges=[a.png]", 2, "did you mean task.images"),
    ("+explainer.splitt=ratio", 2, "explainer.splitt is no option of LRP"),
    ("task.batch_sise=4", 2, "task.batch_sise is no setting; did you mean task.batch_size"),
    ("+map.channel_reductoin=sum", 2, "did you mean channel_reduction?"),
    ("+task.batch_sise=4", 2, "task.batch_sise is no setting"),
    ("+dataset.rot=4", 2, "dataset.rot is no setting"),
    ("+colour=blue", 2, "colour is no setting"),
    ("+map.sine=all", 2, "map.sine is no option of AttributionMap"),
    ("+protocol.published.steps=4", 2, "protocol.published.steps is no option"),
    ("+metric.sparsity.level=4", 2, "metric.sparsity.level is no option"),
    ("+dataset.transform.sharpen=1", 2, "dataset.transform.sharpen"),
    ("+dataset.catalogue.depth=1", 2, "dataset.catalogue.depth"),
    ("+dataset.sampling.shuffle=1", 2, "dataset.sampling.shuffle is no setting"),
    ("+model.depth=50", 2, "depth"),
    ("~num_samples", 2, "num_samples is missing"),
    ("~dataset.root", 2, "dataset.root"),
    ("~explainer.target", 2, "explainer.target is missing"),
    ("~model.name", 2, "model.name"),
    ("explainer.target=both", 2, "explainer.target must be one of predicted, label"),
    ("just_a_word", 2, "just_a_word"),
    ("=4", 2, "=4"),
    ("task.images=[a.jpg", 2, "task.images=[a.jpg"),
    ("explainer._target_=nowhere.Method", 2, "explainer._target_=nowhere.Method"),
    ("explainer._target_=math.pi", 2, "explainer._target_=math.pi is a float"),
    ("explainer._target_=3", 2, "explainer._target_"),
    ("explainer._target_=", 2, "explainer._target_"),
    ("explainer._target_=null", 2, "explainer._target_"),
    ("map._target_=math.sqrt", 2, "map"),
    ("task._target_=os.getcwd", 2, "task._target_ must be one of"),
    ("task._target_=null", 2, "task._target_ must be one of"),
    ("model._target_=nowhere.Network", 2, "model._target_=nowhere.Network"),
    ("model._target_=os.getcwd", 2, "model._target_=os.getcwd"),
    ("dataset.catalogue._target_=nowhere.read", 2, "dataset.catalogue._target_=nowhere.read"),
    ("dataset.transform._target_=nowhere.cut", 2, "dataset.transform._target_=nowhere.cut"),
    ("metric.sparsity._target_=nowhere.Sparse", 2, "metric.sparsity._target_=nowhere.Sparse"),
    ("protocol.published._target_=nowhere.P", 2, "protocol.published._target_=nowhere.P"),
    # Types.
    ("num_samples=all", 2, "num_samples must be a whole number"),
    ("num_samples=4.5", 2, "num_samples must be a whole number"),
    ("num_samples=true", 2, "num_samples must be a whole number"),
    ("num_samples=[4]", 2, "num_samples must be a whole number"),
    ("num_samples=\\'4\\'", 2, "num_samples must be a whole number"),
    ("seed=abc", 2, "seed must be a whole number"),
    ("seed=1.5", 2, "seed must be a whole number"),
    ("task.batch_size=many", 2, "task.batch_size must be a whole number"),
    ("task.pictures=true", 2, "task.pictures must be a whole number"),
    ("dataset.root=7", 2, "dataset.root must be text or null"),
    ("dataset.root=[a,b]", 2, "dataset.root must be text or null"),
    ("dataset.mean=0.5", 2, "dataset.mean must be"),
    ("dataset.mean=[a,b,c]", 2, "dataset.mean"),
    ("dataset.num_workers=two", 2, "dataset.num_workers must be a whole number"),
    ("dataset.manifest=7", 2, "dataset.manifest must be text or null"),
    ("dataset.class_names=7", 2, "dataset.class_names must be"),
    ("dataset=7", 2, "dataset=7"),
    ("output_dir=7", 2, "output_dir must be text or null"),
    ("output_dir=[a]", 2, "output_dir must be text or null"),
    ("data_dir=7", 2, "data_dir must be text"),
    ("device=0", 2, "device must be text"),
    ("model.checkpoint=7", 2, "model.checkpoint must be text or null"),
    ("model.weights=true", 2, "model.weights must be text or null"),
    ("model.train_if_missing=maybe", 2, "model.train_if_missing must be true or false"),
    ("explainer.include_identity=abc", 2, "explainer.include_identity must be true or false, not 'abc'"),
    ("explainer.include_identity=1", 2, "explainer.include_identity must be true or false, not 1"),
    ("explainer.stabilizer=abc", 2, "explainer.stabilizer must be"),
    ("explainer.rule=7", 2, "rule"),
    ("explainer.split=7", 2, "split"),
    ("explainer.split={}", 2, "explainer.split._target_ is missing"),
    ("'split={power: 2}'", 2, "explainer.split._target_ is missing"),
    ("explainer=lrp_epsilon explainer.blocks=1.5", 2, "explainer.blocks must be a whole number"),
    ("explainer=stored", 2, "explainer.maps is not set"),
    ("explainer=stored explainer.maps=missing.npz", 2, "explainer.maps: there is no file missing.npz"),
    ("explainer=random explainer.seed=abc", 2, "explainer.seed must be a whole number"),
    ("explainer=rise explainer.seed=1.5", 2, "explainer.seed must be a whole number"),
    ("explainer=rise explainer.precision=abc", 2, "explainer.precision must be one of fp32, bf16, fp16"),
    ("explainer=score_cam explainer.precision=fp16 device=cpu", 2, "explainer.precision=fp16 is for GPUs"),
    ("explainer=grad_cam explainer.target_layer=7", 2, "explainer.target_layer"),
    ("metric.localisation.tolerance=abc", 2, "metric.localisation.tolerance"),
    ("map.num_levels=eight", 2, "map.num_levels must be a whole number"),
    ("trainer.devices=half", 2, "devices"),
    ("trainer.devices=1234567890123456789012", 2, "trainer.devices must be"),
    ("trainer.num_nodes=1234567890123456789012", 2, "trainer.num_nodes must be"),
    ("--unheard_of", 2, "unrecognized arguments: --unheard_of"),
    ("--cfg nothing", 2, "--cfg/-c: invalid choice: 'nothing'"),
    # Nulls.
    ("num_samples=null", 2, "num_samples must be a whole number"),
    ("seed=null", 2, "seed must be a whole number"),
    ("explainer=random explainer.seed=null", 2, "explainer.seed must be a whole number"),
    ("explainer=smooth_grad explainer.seed=null", 2, "explainer.seed must be a whole number"),
    ("dataset.root=null", 2, "dataset.root is not set"),
    ("dataset.mean=null", 2, "dataset.mean must be"),
    ("dataset.sampling=null", 2, "dataset.sampling"),
    ("dataset.catalogue=null", 2, "dataset.catalogue must be a mapping"),
    ("dataset.name=null", 2, "dataset.name must be text"),
    ("model.name=null", 2, "model.name must be text"),
    ("explainer.name=null", 2, "explainer.name must be text"),
    ("explainer.split=null", 2, "split"),
    ("explainer.rule=null", 2, "rule"),
    ("map.sign=null", 2, "map.sign must be one of"),
    ("task.batch_size=null", 2, "task.batch_size must be a whole number"),
    ("device=null", 2, "device must be text"),
    ("protocol=null", 2, "protocol=null"),
    ("protocol=[]", 2, "protocol=[]"),
    ("explainer=null", 2, "explainer=null"),
    ("model=null", 2, "model=null"),
    ("task=null", 2, "task=null"),
    # Ranges, and numbers that only burn time or memory.
    ("num_samples=0", 2, "num_samples must be a whole number of at least 1"),
    ("num_samples=-4", 2, "num_samples must be a whole number of at least 1"),
    ("num_samples=1000000000", 2, "at most 100,000,000"),
    ("seed=-1", 2, "seed must be a whole number of at least 0"),
    ("seed=9223372036854775808", 2, "seed must be"),
    ("task.batch_size=0", 2, "task.batch_size must be a whole number of at least 1"),
    ("task.batch_size=100000000000", 2, "task.batch_size"),
    ("task.forward_batch_size=0", 2, "task.forward_batch_size must be"),
    ("task.forward_batch_size=100000000000", 2, "task.forward_batch_size"),
    ("task.precision=fp64", 2, "task.precision must be one of fp32, bf16, fp16"),
    ("task.precision=fp16 device=cpu", 2, "task.precision=fp16 is for GPUs"),
    ("task.curve_tolerance=0", 2, "task.curve_tolerance must be a finite number above 0 and below 1"),
    ("task.curve_tolerance=1.0", 2, "task.curve_tolerance must be a finite number above 0 and below 1"),
    ("task.curve_tolerance=-0.1", 2, "task.curve_tolerance must be a finite number above 0 and below 1"),
    ("task.curve_tolerance=nan", 2, "task.curve_tolerance must be"),
    ("task.curve_tolerance=true", 2, "task.curve_tolerance must be"),
    ("task.curve_tolerance=small", 2, "task.curve_tolerance must be"),
    ("task.pictures=-1", 2, "task.pictures must be a whole number of at least 0"),
    ("task.pictures=100000", 2, "at most 10,000"),
    ("task.scored_class=lable", 2, "task.scored_class must be one of label, predicted"),
    ("task.explainers=[]", 2, "task.explainers names no explainer"),
    ("task.explainers=7", 2, "task.explainers must be a list of values, each text"),
    ("task.explainers=random", 2, "task.explainers must be a list of values, each text"),
    ("task.explainers=[random,7]", 2, "task.explainers[1] must be text"),
    ("task.explainers=[random,null]", 2, "task.explainers[1] must be text"),
    ("'task.explainers=[random,\"center,edges\"]'", 2, "task.explainers[1] must be text that names a file"),
    ("'task.explainers=[\"ours model=resnet50\"]'", 2, "task.explainers[0] must be text that names a file"),
    (
        "'task.explainers=[\"ours explainer.rul=epsilon\"]'",
        2,
        "explainer=ours explainer.rul=epsilon of task.explainers",
    ),
    ("'task.explainers=[center,\"center split=symmetric\"]'", 2, "explainer=center takes no splitting"),
    ("task=explain 'task.explainers=[ours,\"ours split=ratio\"]'", 2, "'ours' and 'ours split=ratio' are the same"),
    (
        '\'task.explainers=["ours explainer.rule=a+b","ours explainer.rule=a-b"]\' output_dir=$W/new',
        2,
        "would both go to",
    ),
    ("task.explainers=[random,grad_camm]", 2, "did you mean grad_cam?"),
    ("task=explain task.explainers=[edges,edges]", 2, "task.explainers names edges twice"),
    ("task.explainers=[center,random,center]", 2, "task.explainers names center twice"),
    ("task.explainers=[random,unheard_of]", 2, "explainer=unheard_of of task.explainers"),
    ("explainer=ours task.explainers=[random,center]", 2, "explainer=ours and task.explainers both choose explainers"),
    ("task.explainers=[random,center] explainer.split=symmetric", 2, "explainer=random of task.explainers"),
    ("task.explainers=[random,ours] explainer.target=both", 2, "explainer.target must be one of predicted, label"),
    ("task.explainers=[center,grad_cam] model=custom model._target_=torch.nn.Flatten", 2, "network Flatten"),
    ("task.explainers=[center,random] output_dir=$W/files/plain_file", 2, "cannot be written"),
    ("task.explainers=[center,random] output_dir=$W/held", 2, "is in use by process"),
    ("task.on_change=ignore", 2, "task.on_change must be one of refuse, anew, accept"),
    ("dataset.mean=[0.1,0.2]", 2, "dataset.mean must be a list of 3 values, each a finite number of at least 0"),
    (
        "dataset.mean=[123.7,116.3,103.5]",
        2,
        "dataset.mean[0] must be a finite number of at least 0 and at most 1, not 123.7",
    ),
    ("dataset.std=[58.4,57.1,57.4]", 2, "dataset.std[0] must be a finite number above 0 and at most 1, not 58.4"),
    ("dataset.on_bad_image=ignore", 2, "dataset.on_bad_image must be one of error, skip"),
    ("dataset.sampling.style=mixed", 2, "dataset.sampling.style must be one of"),
    ("dataset.sampling.seed=-1", 2, "dataset.sampling.seed must be"),
    ("dataset.image_size=0", 2, "dataset.image_size must be"),
    ("dataset.image_size=1000000", 2, "at most 16,384"),
    ("dataset.resize=-1", 2, "dataset.resize must be"),
    ("dataset.image_size=1", 2, "leaves a single point of 1 pixels"),
    ("dataset.std=[-1,1,1]", 2, "dataset.std"),
    ("dataset.std=[0,1,1]", 2, "dataset.std"),
    ("dataset.std=[1,1]", 2, "dataset.std"),
    ("dataset.std=[nan,1,1]", 2, "dataset.std"),
    ("dataset.mean=[inf,0,0]", 2, "dataset.mean"),
    ("dataset.num_workers=-1", 2, "dataset.num_workers must be"),
    ("dataset.num_workers=100000", 2, "at most 1,024"),
    ("dataset.catalogue.num_val=-1", 2, "dataset.catalogue.num_val must be"),
    ("dataset.catalogue.num_val=1000", 2, "num_val=1000"),
    ("dataset.catalogue.val_style=none", 2, "dataset.catalogue.val_style must be one of"),
    ("explainer.stabilizer=-1", 2, "explainer.stabilizer must be"),
    ("explainer.stabilizer=inf", 2, "explainer.stabilizer must be"),
    ("explainer.stabilizer=nan", 2, "explainer.stabilizer must be"),
    ("explainer.split=thirds", 2, "'thirds' is unknown"),
    ("explainer.rule=z_minus", 2, "'z_minus' is unknown"),
    ("'explainer.rule={nolayer: epsilon, *: z_plus}'", 2, "no layer is called 'nolayer'"),
    ("'explainer.rule={layer1: epsilon}'", 2, "no pattern matches layer"),
    ("explainer.input_rule=mixture", 2, "input_rule must be"),
    ("explainer.max_pool=biggest", 2, "explainer.max_pool must be one of"),
    ("explainer.start=one_half", 2, "explainer.start must be one of"),
    ("explainer=center explainer.width=inf", 2, "explainer.width must be"),
    ("explainer=center explainer.width=0", 2, "explainer.width must be"),
    ("explainer=smooth_grad explainer.noise=inf", 2, "explainer.noise must be"),
    ("explainer=smooth_grad explainer.noise=-1", 2, "explainer.noise must be"),
    ("explainer=smooth_grad explainer.samples=0", 2, "explainer.samples must be"),
    ("explainer=smooth_grad explainer.samples=1000000000", 2, "explainer.samples must be"),
    ("explainer=rise explainer.samples=1000000000", 2, "explainer.samples must be"),
    ("explainer=rise explainer.cells=0", 2, "explainer.cells must be"),
    ("explainer=rise explainer.cells=1000000", 2, "explainer.cells must be"),
    ("explainer=rise explainer.keep=0", 2, "explainer.keep must be"),
    ("explainer=rise explainer.keep=1.5", 2, "explainer.keep must be"),
    ("explainer=integrated_gradients explainer.steps=0", 2, "explainer.steps must be"),
    ("explainer=integrated_gradients explainer.steps=1000000000", 2, "explainer.steps must be"),
    ("explainer=integrated_gradients explainer.method=simpson", 2, "explainer.method must be one of"),
    ("explainer=integrated_gradients explainer.baseline=grey", 2, "baseline"),
    ("explainer=integrated_gradients explainer.baseline=[1,2]", 2, "baseline"),
    ("explainer=deeplift explainer.baseline=nan", 2, "baseline"),
    ("explainer=lrp_epsilon explainer.epsilon=-1", 2, "explainer.epsilon must be"),
    ("explainer=lrp_epsilon explainer.blocks=-1", 2, "explainer.blocks must be"),
    ("explainer=lrp_epsilon explainer.variant=wrong", 2, "explainer.variant must be one of"),
    ("explainer=grad_cam explainer.target_layer=layer9", 2, "layer9"),
    ("explainer=grad_cam explainer.target_layer=layer4[9]", 2, "layer4[9]"),
    ("explainer=score_cam explainer.target_layer=fc", 2, "target_layer: Linear does not return one feature map"),
    ("explainer=score_cam explainer.variant=softmax", 2, "explainer.variant must be one of"),
    ("explainer=grad_cam explainer.score=loss", 2, "explainer.score must be one of"),
    ("map.num_levels=1", 2, "map.num_levels must be"),
    ("map.num_levels=100000000000", 2, "map.num_levels"),
    ("map.sign=negative", 2, "map.sign must be one of"),
    ("map.heat_quantization=round", 2, "map.heat_quantization must be"),
    ("map.upsampling=lanczos", 2, "map.upsampling must be one of"),
    ("map.channel_reduction=last", 2, "map.channel_reduction must be one of"),
    ("protocol.published.step=0", 2, "protocol.published.step must be"),
    ("protocol.published.ties=apart", 2, "protocol.published.ties must be"),
    ("protocol.published.baseline=pink", 2, "protocol.published.baseline must be"),
    ("protocol.published.patch=0", 2, "protocol.published.patch must be"),
    ("protocol.published.patch=64", 2, "leaves a single point of 1 pixels or patches"),
    ("protocol=levels protocol.levels.max_levels=0", 2, "protocol.levels.max_levels must be"),
    ("metric.localisation.tolerance=-1", 2, "metric.localisation.tolerance must be"),
    ("metric=[sensitivity] metric.sensitivity.radius=-1", 2, "metric.sensitivity.radius must be"),
    ("metric=[sensitivity] metric.sensitivity.num_perturbations=0", 2, "metric.sensitivity.num_perturbations must be"),
    ("metric=[randomisation] metric.randomisation.seed=abc", 2, "metric.randomisation.seed must be"),
    ("device=abacus", 2, "device=abacus"),
    ("device=tpu", 2, "device=tpu"),
    ("device=cuda:99", 2, "device=cuda:99"),
    ("device='cpu rm'", 2, "device must be"),
    ("trainer.devices=0", 2, "devices"),
    ("trainer.devices=-5", 2, "devices"),
    ("trainer.devices=[]", 2, "devices"),
    ("trainer.num_nodes=0", 2, "trainer.num_nodes must be"),
    ("trainer.strategy=fastest", 2, "fastest"),
    ("trainer.precision=17", 2, "trainer.precision"),
    # Names.
    ("dataset.name=../elsewhere", 2, "dataset.name must be text that can name a folder"),
    ("dataset.name=/tmp/elsewhere", 2, "dataset.name must be text that can name a folder"),
    ("model.name=..", 2, "model.name must be text that can name a folder"),
    ("model.name=", 2, "model.name must be text that can name a folder"),
    ("explainer.name=a/b", 2, "explainer.name must be text that can name a folder"),
    ("explainer.name='a\nb'", 2, "explainer.name must be text that can name a folder"),
    ("explainer.name=" + "x" * 300, 2, "explainer.name"),
    # Files.
    ("dataset.root=$W/nowhere", 2, "there is no folder $W/nowhere"),
    ("dataset.root=$W/weights.pt", 2, "weights.pt"),
    ("dataset.root=$W/folders/empty", 2, "has no folder test/"),
    ("dataset.root=$W/folders/no_test", 2, "has no folder test/"),
    ("dataset.root=$W/folders/lacking_class", 2, "class jay is in"),
    ("dataset.root=$W/folders/empty_class", 2, "has no images"),
    ("dataset.root=$W/folders/flat", 2, "has no class folders"),
    ("dataset.root=$W/folders/text_image num_samples=12", 2, "text_image/test/jay/2.png"),
    ("dataset.root=$W/folders/empty_image num_samples=12", 2, "the file is empty"),
    ("dataset.root=$W/folders/cut_image num_samples=12", 2, "cut_image/test/jay/2.png"),
    ("dataset.root=$W/folders/dangling num_samples=12", 2, "there is no such file"),
    ("dataset.root=$W/folders/pipe num_samples=12", 2, "pipe/test/jay/2.png: it is no file"),
    ("dataset.root=$W/folders/socket num_samples=12", 2, "socket/test/jay/2.png: it is no file"),
    ("dataset.root=$W/folders/folder num_samples=12", 2, "folder/test/jay/2.png: it is no file"),
    ("dataset.root=$W/folders/endless num_samples=12", 2, "endless/test/jay/2.png: it is no file"),
    ("dataset.manifest=$W/nowhere.csv", 2, "nowhere.csv"),
    ("dataset.manifest=$W/photographs", 2, "photographs"),
    ("dataset.manifest=$W/files/other_header.csv", 2, "whose header is"),
    ("dataset.manifest=$W/files/no_rows.csv", 2, "names no samples"),
    ("dataset.manifest=$W/files/row_twice.csv", 2, "line 3: test/finch/0.png is listed twice"),
    ("dataset.manifest=$W/files/short_row.csv", 2, "3 fields instead of 4"),
    ("dataset.manifest=$W/files/unknown_path.csv", 2, "test/finch/99.png is not in the split"),
    ("dataset.manifest=$W/files/train_path.csv", 2, "train/finch/0.png is not in the split"),
    ("dataset.manifest=$W/files/other_label.csv", 2, "has label 1"),
    ("dataset.manifest=$W/files/binary.csv", 2, "not a manifest"),
    ("dataset.class_names=[finch,jay]", 2, "dataset.class_names has 2 names"),
    ("dataset.class_names=[finch,jay,jay]", 2, "dataset.class_names names jay twice"),
    ("dataset.class_names=[]", 2, "dataset.class_names names no class"),
    ("dataset.class_names=$W/nowhere.txt", 2, "nowhere.txt"),
    ("dataset.class_names=$W/files/two_names.txt", 2, "dataset.class_names has 2 names"),
    ("dataset.class_names=$W/files/name_twice.txt", 2, "dataset.class_names names jay twice"),
    ("dataset.class_names=$W/files/no_names.txt", 2, "dataset.class_names names no class"),
    ("dataset.class_names=$W/files/binary_names.txt", 2, "cannot be read"),
    ("model.checkpoint=$W/nowhere.pt", 2, "no such file"),
    ("model.checkpoint=$W/weights2.pt", 2, "does not fit the network"),
    ("model.checkpoint=$W/checkpoints/int8.pt", 2, "of another type"),
    ("model.checkpoint=$W/checkpoints/bool.pt", 2, "of another type"),
    ("model.checkpoint=$W/checkpoints/complex.pt", 2, "of another type"),
    ("model.checkpoint=$W/checkpoints/nan.pt", 2, "with NaN or infinite values"),
    ("model.checkpoint=$W/checkpoints/infinite.pt", 2, "with NaN or infinite values"),
    ("model.checkpoint=$W/checkpoints/missing.pt", 2, "1 missing (conv1.weight)"),
    ("model.checkpoint=$W/checkpoints/unexpected.pt", 2, "1 unexpected (another.weight)"),
    ("model.checkpoint=$W/checkpoints/reshaped.pt", 2, "of another shape"),
    ("model.checkpoint=$W/checkpoints/no_tensors.pt", 2, "understood are model.state_dict()"),
    ("model.checkpoint=$W/checkpoints/strange_layout.pt", 2, "holds no state dict (found: weights)"),
    ("model.checkpoint=$W/checkpoints/list.pt", 2, "holds a list"),
    ("model.checkpoint=$W/checkpoints/tensor.pt", 2, "holds a Tensor"),
    ("model.checkpoint=$W/checkpoints/whole_module.pt", 2, "it would run code"),
    ("model.checkpoint=$W/checkpoints/truncated.pt", 2, "truncated.pt"),
    ("model.checkpoint=$W/checkpoints/flipped.pt", 2, "flipped.pt"),
    ("model.checkpoint=$W/checkpoints/flipped_bit.pt", 2, "its checksums do not fit"),
    ("model.checkpoint=$W/checkpoints/one_index.pt", 2, "its class_to_idx does not number 3 classes"),
    ("model.checkpoint=$W/checkpoints/text_index.pt", 2, "its class_to_idx does not number 3 classes"),
    ("model.checkpoint=$W/checkpoints/none_index.pt", 2, "its class_to_idx does not number 3 classes"),
    ("model.checkpoint=$W/checkpoints/late_index.pt", 2, "its class_to_idx does not number 3 classes"),
    ("model.checkpoint=$W/checkpoints/listed_index.pt", 2, "its class_to_idx does not number 0 classes"),
    ("model.checkpoint=$W/checkpoints/no_index.pt", 2, "its class_to_idx does not number 0 classes"),
    ("model.checkpoint=$W/checkpoints/few_classes.pt", 2, "other classes ('wren' is none of them)"),
    ("model.checkpoint=$W/checkpoints/class_twice.pt", 2, "other classes ('jay' is none of them)"),
    ("model.checkpoint=$W/checkpoints/sparse.pt", 2, "sparse, quantised or without values (conv1.weight)"),
    ("model.checkpoint=$W/checkpoints/csr.pt", 2, "sparse, quantised or without values (fc.weight)"),
    ("model.checkpoint=$W/checkpoints/meta.pt", 2, "conv1.weight"),
    ("model.checkpoint=$W/checkpoints/huge.pt", 2, "of another shape"),
    ("model.checkpoint=$W/checkpoints/empty.pt", 2, "empty.pt"),
    ("model.checkpoint=$W/checkpoints/text.pt", 2, "text.pt"),
    ("model.checkpoint=$W/checkpoints/a_folder.pt", 2, "a_folder.pt"),
    ("model.checkpoint=$W/checkpoints/other_classes.pt", 2, "'owl' is none of the dataset's"),
    ("model.checkpoint=$W/checkpoints/other_index.pt", 2, "'owl' is none of the dataset's"),
    ("model.checkpoint=null model.weights=IMAGENET", 2, "model.weights=IMAGENET"),
    ("model.layers=[0,0,0]", 2, "model"),
    ("model.num_classes=5", 2, "model"),
    ("dataset=imagenet dataset.root=$W/archives", 2, "archives"),
    ("dataset=imagenet dataset.root=$W/nowhere", 2, "nowhere"),
    ("dataset=demo model=demo dataset.root=$W/photographs", 2, "holds no demo data"),
    ("dataset=demo model=demo dataset.root=$W/weights.pt", 2, "is not a folder"),
    ("dataset=demo model=demo dataset.root=/proc/demo", 2, "of the demo data cannot be written"),
    ("dataset=demo model=demo dataset.catalogue.train_per_species=0", 2, "train_per_species must be"),
    ("dataset=demo model=demo dataset.catalogue.test_per_species=1000000", 2, "at most 10,000"),
    # Places that cannot be written, or are somebody else's.
    ("output_dir=$W/files/plain_file", 2, "plain_file"),
    ("output_dir=$W/files/plain_file/run", 2, "cannot be written"),
    ("output_dir=$W/files/notes", 2, "holds other files (diary.txt)"),
    ("output_dir=$W/files/nested", 2, "config.yaml is damaged"),
    ("output_dir=$W/files/in_itself", 2, "config.yaml is damaged (no mapping of settings)"),
    ("output_dir=$W/files/growing", 2, "config.yaml is damaged (no mapping of settings)"),
    ("output_dir=/proc/nowhere", 2, "/proc/nowhere cannot be written"),
    ("output_dir=$W/" + "x" * 300, 2, "cannot be written"),
    ("output_dir=$W/held", 2, "is in use by process"),
    ("output_dir=", 2, "output_dir"),
]
CUBS: list[Row] = [
    ("dataset.root=$W/cubs/nan_box", 2, "bounding_boxes.txt, line 2"),
    ("dataset.root=$W/cubs/infinite_box", 2, "bounding_boxes.txt, line 2"),
    ("dataset.root=$W/cubs/negative_box", 2, "bounding_boxes.txt, line 2"),
    ("dataset.root=$W/cubs/flat_box", 2, "bounding_boxes.txt, line 2"),
    ("dataset.root=$W/cubs/box_outside", 2, "lies outside of its"),
    ("dataset.root=$W/cubs/text_box", 2, "bounding_boxes.txt, line 2"),
    ("dataset.root=$W/cubs/short_box", 2, "3 fields after the id instead of 4"),
    ("dataset.root=$W/cubs/label_0", 2, "label 0 is outside of 1 to 2"),
    ("dataset.root=$W/cubs/label_3", 2, "label 3 is outside of 1 to 2"),
    ("dataset.root=$W/cubs/split_2", 2, "'2' where 0 or 1 belongs"),
    ("dataset.root=$W/cubs/lacking_line", 2, "the file ends after 7 images"),
    ("dataset.root=$W/cubs/twice", 2, "id 1 stands there twice"),
    ("dataset.root=$W/cubs/outside", 2, "is not a path of the form CLASS/NAME.jpg"),
    ("dataset.root=$W/cubs/class_order", 2, "class 3 where class 1 belongs"),
    ("dataset.root=$W/cubs/no_boxes", 2, "bounding_boxes.txt is missing"),
    ("dataset.root=$W/cubs/empty_images", 2, "the file is empty"),
    ("dataset.root=$W/cubs/binary", 2, "is not a text file"),
    ("dataset.root=$W/cubs/lost_image", 2, "there is no such file"),
    ("dataset.root=$W/cubs/nowhere", 2, "scripts/get_cub.py"),
]
EXPLAIN: list[Row] = [
    ("task.pictures=0", 2, "task.pictures must be"),
    ("task.batch_size=0", 2, "task.batch_size must be"),
    ("task.images=7", 2, "task.images must be"),
    ("task.images=[7]", 2, "task.images[0] must be text, not 7"),
    ("task.images=[nowhere.png]", 2, "there is no file nowhere.png"),
    ("task.images=[$W/photographs]", 2, "there is no file"),
    ("task.images=[$W/folders/pipe/test/jay/2.png]", 2, "there is no file $W/folders/pipe/test/jay/2.png"),
    ("task.images=[$W/folders/endless/test/jay/2.png]", 2, "there is no file"),
    ("task.images=[$W/folders/dangling/test/jay/2.png]", 2, "there is no file"),
    ("task.images=[$W/files/no_image.png]", 2, "no_image.png"),
    ("task.images=[$W/files/empty.png]", 2, "the file is empty"),
    ("task.images=[$W/files/no_image.png] dataset.on_bad_image=skip", 2, "none of the images can be read"),
    ("task.images=[$W/files/bird.png] explainer.target=label", 2, "explainer.target=label"),
    ("task.images=[$W/files/bird.png] task.target=jai", 2, "did you mean jay?"),
    ("task.images=[$W/files/bird.png] task.target=3", 2, "none of the network's 3 classes is called so"),
    ("task.images=[$W/files/bird.png] task.target=-1", 2, "task.target must be"),
    ("task.images=[$W/files/bird.png] task.target=[a]", 2, "task.target must be"),
    ("task.target=jays", 2, "did you mean jay?"),
    ("device=meta", 2, "device=meta computes nothing"),
    ("task.images=[$W/files/bird.png] model.checkpoint=$W/nowhere.pt", 2, "no such file"),
    ("task.scored_class=label", 2, "scored_class"),
    ("output_dir=$W/files/notes", 2, "holds other files"),
    ("output_dir=/proc/nowhere", 2, "/proc/nowhere cannot be written"),
]
CONSERVATION: list[Row] = [
    ("explainer=grad_cam", 2, "explainer=grad_cam has none, use ours"),
    ("task.batch_size=0", 2, "task.batch_size must be"),
    ("task.pictures=2", 2, "pictures"),
    ("explainer.include_identity=abc", 2, "explainer.include_identity must be"),
    ("dataset.root=$W/folders/text_image num_samples=12", 2, "text_image/test/jay/2.png"),
    ("model=custom model._target_=torch.nn.Flatten model.checkpoint=null", 2, "custom"),
    ("output_dir=$W/files/notes", 2, "holds other files"),
    ("output_dir=$W/held", 2, "is in use by process"),
]
TRAIN: list[Row] = [
    ("trainer.max_epochs=0", 2, "trainer.max_epochs must be"),
    ("trainer.max_epochs=10000000", 2, "at most 1,000,000"),
    ("trainer.max_epochs=forever", 2, "trainer.max_epochs must be"),
    ("trainer.batch_size=4", 2, "trainer.batch_size=4 leaves a batch of one of"),
    ("trainer.batch_size=0", 2, "trainer.batch_size must be"),
    ("trainer.patience=abc", 2, "trainer.patience must be"),
    ("trainer.patience=0", 2, "trainer.patience must be"),
    ("trainer.label_smoothing=nan", 2, "trainer.label_smoothing must be"),
    ("trainer.label_smoothing=-1", 2, "trainer.label_smoothing must be"),
    ("trainer.label_smoothing=1", 2, "trainer.label_smoothing must be"),
    ("trainer.label_smoothing=null", 2, "trainer.label_smoothing must be"),
    ("trainer.optimizer.lr=fast", 2, "lr"),
    ("trainer.optimizer.lr=-1", 2, "lr"),
    ("trainer.optimizer.lr=1e30 trainer.label_smoothing=nan", 2, "trainer.label_smoothing must be a finite number"),
    ("trainer.optimizer.lr=nan", 2, "trainer.optimizer.lr must be a finite number"),
    ("trainer.optimizer.lr=inf", 2, "trainer.optimizer.lr must be a finite number"),
    ("trainer.optimizer.lr=null", 2, "lr"),
    ("trainer.optimizer.momentum=-1", 2, "momentum"),
    ("trainer.optimizer.momentum=nan", 2, "momentum"),
    ("trainer.optimizer.weight_decay=-1", 2, "weight_decay"),
    ("trainer.optimizer._target_=torch.optim.NoSuch", 2, "torch.optim.NoSuch"),
    ("trainer.optimizer=null", 2, "trainer.optimizer"),
    ("+trainer.optimizer.speed=3", 2, "trainer.optimizer.speed"),
    ("trainer.lr_scheduler.scheduler.step_size=0", 2, "trainer.lr_scheduler cannot make a step"),
    ("trainer.lr_scheduler.scheduler.step_size=abc", 2, "step_size"),
    ("trainer.lr_scheduler.scheduler._target_=nowhere.Step", 2, "nowhere.Step"),
    ("trainer.lr_scheduler.interval=minute", 2, "interval"),
    ("trainer.lr_scheduler.length_argument=no_such", 2, "no_such"),
    ("+trainer.lr_scheduler.no_such=1", 2, "no_such"),
    ("+trainer.no_such_option=1", 2, "no_such_option"),
    ("+trainer.limit_train_batches=abc", 2, "limit_train_batches"),
    ("+trainer.gradient_clip_val=abc", 2, "gradient_clip_val"),
    ("+trainer.callbacks=7", 2, "callbacks"),
    ("trainer.precision=17", 2, "17"),
    ("trainer.deterministic=maybe", 2, "trainer.deterministic must be"),
    ("trainer.accelerator=abacus", 2, "abacus"),
    ("dataset.datamodule.augmentation.flip=2", 2, "flip must be"),
    ("dataset.datamodule.augmentation.flip=null", 2, "flip must be"),
    ("dataset.datamodule.augmentation.crop_scale=[1,0.5]", 2, "crop_scale"),
    ("dataset.datamodule.augmentation.crop_scale=[0,1]", 2, "crop_scale"),
    ("dataset.datamodule.augmentation.crop_ratio=[-1,1]", 2, "crop_ratio"),
    ("+dataset.datamodule.augmentation.blur=1", 2, "blur"),
    ("dataset.datamodule.val_augmentation=often", 2, "val_augmentation must be true or false"),
    ("+dataset.datamodule.shuffle=true", 2, "shuffle"),
    ("model.num_classes=5", 2, "5"),
    ("model.num_classes=abc", 2, "model._target_=torchvision.models.ResNet: cannot be built"),
    ("model.weights=$W/nowhere.pt", 2, "nowhere.pt"),
    ("model.weights=$W/checkpoints/int8.pt", 2, "does not fit"),
    ("model.weights=$W/checkpoints/text.pt", 2, "text.pt"),
    ("dataset=imagenet", 2, "dataset=imagenet has no training images"),
    ("dataset.root=$W/folders/text_train_image", 2, "text_train_image/train/jay"),
    ("dataset.root=$W/folders/one_class model.num_classes=1", 2, "has one class (finch)"),
    ("dataset.root=$W/folders/no_test", 2, "has no folder test/"),
    ("dataset.root=$W/folders/no_train", 2, "has no images"),
    ("dataset.catalogue.num_val=0", 2, "the val split"),
    ("dataset.class_names=[a]", 2, "dataset.class_names has 1 names"),
    ("output_dir=$W/files/notes", 2, "holds other files"),
    ("output_dir=$W/files/plain_file/run", 2, "cannot be written"),
    ("output_dir=$W/held", 2, "is in use by process"),
]
REPRODUCE: list[Row] = [
    ("task=reproduce", 2, "say experiment=NAME"),
    ("experiment=otsuki2024/table1 task.explainers=[ours,random]", 2, "task.explainers is for task=evaluate"),
    (
        ONE_ROW + " \"reproduce.rows=[{label: A, overrides: ['task.explainers=[ours,random]']}]\"",
        2,
        "row 'A'",
    ),
    ("experiment=table9", 2, "experiment/table9"),
    ("experiment=otsuki2024/table9", 2, "experiment/otsuki2024/table9"),
    ("experiment=otsuki2024/tabel1", 2, "did you mean table1"),
    ("experiment=otsuki204/table1", 2, "did you mean otsuki2024/table1"),
    ("experiment=otsuki2024/table1 reproduce.rows=null", 2, "has no rows"),
    ("experiment=otsuki2024/table1 reproduce.rows=[] reproduce.controls=[]", 2, "name at least one row"),
    ("experiment=otsuki2024/table1 reproduce.rows=7", 2, "reproduce.rows must be"),
    ("experiment=otsuki2024/table1 'reproduce.rows=[7]'", 2, "reproduce.rows[0] must be a mapping"),
    ("experiment=otsuki2024/table1 'reproduce.rows=[{overrides: []}]'", 2, "reproduce.rows[0].label is missing"),
    ("experiment=otsuki2024/table1 'reproduce.rows=[{label: A}]'", 2, "reproduce.rows[0].overrides is missing"),
    (
        ONE_ROW + " \"reproduce.rows=[{label: A, overrides: ['explainer.rul=x']}]\"",
        2,
        "row 'A'",
    ),
    (
        ONE_ROW + " \"reproduce.rows=[{label: A, overrides: ['num_samples=0']}]\"",
        2,
        "row 'A'",
    ),
    ("experiment=otsuki2024/table1 reproduce.controls=[nobody]", 2, "nobody"),
    ("experiment=otsuki2024/table1 reproduce.controls=7", 2, "reproduce.controls must be"),
    ("experiment=otsuki2024/table1 reproduce.name=../up", 2, "reproduce.name must be"),
    ("experiment=otsuki2024/table1 reproduce.name=/tmp/up", 2, "reproduce.name must be"),
    ("experiment=otsuki2024/table1 reproduce.name=null", 2, "reproduce.name"),
    ("experiment=otsuki2024/table1 reproduce.row_task=trains", 2, "reproduce.row_task must be one of"),
    ("experiment=otsuki2024/table1 reproduce.product._target_=nowhere.table", 2, "nowhere.table"),
    ("experiment=otsuki2024/table1 reproduce.product=null", 2, "reproduce.product"),
    ("experiment=otsuki2024/table1 +reproduce.product.colour=red", 2, "colour"),
    ("experiment=otsuki2024/table1 reproduce.product.reference=Nobody", 2, "Nobody"),
    ("experiment=method/quality reproduce.product.references=[Nobody]", 2, "references: 'Nobody' is none of the rows"),
    ("experiment=otsuki2024/tableD reproduce.product.worst=-1", 2, "worst"),
    ("experiment=otsuki2024/tableD reproduce.product.proposed=Nobody", 2, "Nobody"),
    ("experiment=otsuki2024/figure5 reproduce.product.images=[-1]", 2, "images"),
    ("experiment=otsuki2024/figure5 reproduce.product.cmaps=[grue]", 2, "grue"),
    ("experiment=otsuki2024/all reproduce.experiments=[table9]", 2, "table9"),
    ("experiment=otsuki2024/all reproduce.experiments=[]", 2, "reproduce.experiments=["),
    ("experiment=otsuki2024/all reproduce.experiments=[../demo]", 2, "reproduce.experiments[0] must be"),
    ("experiment=otsuki2024/table1 reproduce.paper=7", 2, "reproduce.paper must be"),
    ("experiment=otsuki2024/table1 +reproduce.paper.year=2024", 2, "reproduce.paper.year is no setting"),
    ("experiment=otsuki2024/table1 reproduce.paper.beside=[]", 2, "reproduce.paper.beside must be text"),
    ("experiment=otsuki2024/table1 reproduce.paper.checkpoint_seeds={cub:3}", 2, "seeds.cub must be a list"),
    ("experiment=otsuki2024/table1 ~reproduce.paper.title", 2, "reproduce.paper.title is missing"),
    ("experiment=otsuki2024/table1 reproduce.checkpoint_seeds={image_folder: [abc]}", 2, "checkpoint_seeds"),
    ("experiment=otsuki2024/table1 reproduce.checkpoint_seeds={image_folder: []}", 2, "checkpoint_seeds"),
    ("experiment=otsuki2024/table1 num_samples=0", 2, "num_samples must be"),
    ("experiment=otsuki2024/table1 protocol=[]", 2, "protocol"),
    ("experiment=otsuki2024/table1 dataset.root=$W/nowhere", 2, "nowhere"),
    ("experiment=otsuki2024/table1 output_dir=$W/files/plain_file", 2, "plain_file"),
]
REPORT: list[Row] = [
    ("task.root=$W/nowhere", 2, "holds no finished evaluation"),
    ("task.root=$W/photographs", 2, "holds no finished evaluation"),
    ("task.root=$W/weights.pt", 2, "holds no finished evaluation"),
    ("task.root=7", 2, "task.root must be text"),
    ("task.root=null", 2, "task.root must be text"),
    ("task.title=[a]", 2, "task.title must be text"),
    ("+task.colour=red", 2, "task.colour is no setting"),
    ("task.root=$W/files/product", 2, "product.json"),
    ("task.root=$W/files/broken_product", 2, "product.json"),
    ("task.root=$W/files/list_product", 2, "product.json"),
    ("task.root=$W/photographs output_dir=/proc/nowhere", 2, ""),
]
TABLE: list[tuple[str, str, int, str]] = [
    (f"{base} {typed}", typed, code, words)
    for base, rows in (
        (f"{SMALL} output_dir=$W/run", EVALUATE),
        (f"{CUB} output_dir=$W/run", CUBS),
        (f"{SMALL} task=explain output_dir=$W/run", EXPLAIN),
        (f"{SMALL} task=conservation output_dir=$W/run", CONSERVATION),
        (f"{TRAINING} output_dir=$W/run", TRAIN),
        (SMALL.replace("logger=none", "logger=none task.pictures=2"), REPRODUCE),
        ("task=report", REPORT),
    )
    for typed, code, words in rows
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_world(root)
    return root


def content(root: Path) -> dict[str, tuple[int, int]]:
    """Every path below a folder, with size and time of what is a file."""
    found = {}
    for path in root.rglob("*"):
        state = path.lstat()
        found[os.fspath(path)] = (0, 0) if path.is_dir() else (state.st_size, state.st_mtime_ns)
    return found


def name_of(value: object) -> str | None:
    return value if isinstance(value, str) else None


@pytest.mark.parametrize(
    ("line", "code", "words"), [pytest.param(line, code, words, id=typed) for line, typed, code, words in TABLE]
)
def test_a_command_that_cannot_be_carried_out(
    line: str, code: int, words: str, world: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = world / "held" / ("random" if "task.explainers" in line else "")
    held = FileLock(folder / ".lock")
    if "/held" in line:
        folder.mkdir(exist_ok=True, parents=True)
        held.acquire()
        (folder / ".lock").write_text('{"process": 1, "host": "elsewhere", "since": "now"}')
    before = content(world)
    monkeypatch.chdir(world)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(sys, "argv", ["run.py", *shlex.split(line.replace("$W", str(world)))])
    # Hydra composes everything twice, the first time only to see whether hydra.mode asks for a sweep: no row does.
    monkeypatch.setattr(Hydra, "get_mode", lambda self, config_name, overrides: None)
    GlobalHydra.instance().clear()
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
    finally:
        held.release()
    error = capfd.readouterr().err
    assert ended.value.code == code, error
    assert error.count("\n") == 1, error
    assert error.startswith("error: ")
    assert words.replace("$W", str(world)) in error
    assert content(world) == before


def test_a_cluster_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    """Not a row above: Hydra itself notes a sweep in its folder before it asks the launcher."""
    line = f"hydra/launcher=submitit_slurm explainer=center,random hydra.sweep.dir={tmp_path}/sweep -m"
    ended = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *line.split()], cwd=tmp_path, capture_output=True, text=True
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("error: hydra/launcher: Could not")
    assert ended.stderr.count("\n") == 1


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=4).eval()


def images(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def holding(value: float, tensor: torch.Tensor) -> torch.Tensor:
    changed = tensor.clone()
    changed.view(-1)[7] = value
    return changed


def with_weight(value: float) -> nn.Module:
    broken = network()
    with torch.no_grad():
        broken.get_parameter("fc.weight")[0, 0] = value
    return broken


def scored(maps: torch.Tensor, targets: object, count: int = 2, **options: object) -> object:
    return InsertionDeletion(network(), **options).update(images(count), maps, targets)  # type: ignore[arg-type]


NAN, INFINITE = float("nan"), float("inf")
MAPS, CLASSES = torch.rand(2, 32, 32), torch.tensor([0, 1])
REGION = torch.ones(2, 32, 32, dtype=torch.bool)
CALLS: list[tuple[str, Callable[[Path], object], str]] = [
    ("a model that is none", lambda _: LRP("resnet50"), "expected a torch.nn.Module, not str"),  # type: ignore[arg-type]
    ("an unknown splitting", lambda _: LRP(network(), split="thirds"), "'thirds' is unknown"),
    ("a splitting without share", lambda _: LRP(network(), split=object()), "no share"),  # type: ignore[arg-type]
    ("an unknown rule", lambda _: LRP(network(), rule="z_minus"), "'z_minus' is unknown"),
    ("a rule that is none", lambda _: LRP(network(), rule=7), "no method propagate"),  # type: ignore[arg-type]
    ("a misspelt layer", lambda _: LRP(network(), rule={"nolayer": "epsilon", "*": "z_plus"}), "called 'nolayer'"),
    (
        "no rule for a layer",
        lambda _: LRP(network(), rule={"layer1": "epsilon"}).attribute(torch.rand(1, 3, 32, 32)),
        "add a last entry '*'",
    ),
    ("an unknown input rule", lambda _: LRP(network(), input_rule="mixture"), "input_rule must be"),
    ("an identity of text", lambda _: LRP(network(), include_identity="no"), "include_identity must be"),  # type: ignore[arg-type]
    ("an infinite stabilizer", lambda _: LRP(network(), stabilizer=INFINITE), "stabilizer must be a finite"),
    ("a stabilizer that is NaN", lambda _: LRP(network(), stabilizer=NAN), "stabilizer must be a finite"),
    ("a negative stabilizer", lambda _: LRP(network(), stabilizer=-1e-5), "stabilizer must be"),
    ("an unknown start", lambda _: LRP(network(), start="half"), "start must be one of"),  # type: ignore[arg-type]
    ("an unknown pooling", lambda _: LRP(network(), max_pool="biggest"), "max_pool must be"),  # type: ignore[arg-type]
    ("leaves that are a list", lambda _: LRP(network(), leaves=[nn.ReLU]), "leaves must be a mapping"),  # type: ignore[arg-type]
    ("no images", lambda _: LRP(network()).attribute(images(0)), "the batch is empty"),
    ("an image without batch", lambda _: LRP(network()).attribute(images()[0]), "inputs[None]"),
    ("images of bytes", lambda _: LRP(network()).attribute(images().byte()), "images and signals are floating point"),
    ("images that are a list", lambda _: LRP(network()).attribute([[0.5]]), "inputs"),  # type: ignore[arg-type]
    ("a pixel that is NaN", lambda _: LRP(network()).attribute(holding(NAN, images())), "NaN or infinite"),
    ("an infinite pixel", lambda _: LRP(network()).attribute(holding(INFINITE, images())), "NaN or infinite"),
    ("images of one channel", lambda _: LRP(network()).attribute(images()[:, :1]), "does not accept shape"),
    ("a weight that is NaN", lambda _: LRP(with_weight(NAN)).attribute(images()), "NaN or infinite scores"),
    ("an infinite weight", lambda _: LRP(with_weight(INFINITE)).attribute(images()), "NaN or infinite scores"),
    ("a target beyond the classes", lambda _: LRP(network()).attribute(images(), 4), "must lie in [0, 3]"),
    ("a negative target", lambda _: LRP(network()).attribute(images(), -1), "must lie in [0, 3]"),
    ("a target of text", lambda _: LRP(network()).attribute(images(), "cat"), "not str"),  # type: ignore[arg-type]
    ("a target that is true", lambda _: LRP(network()).attribute(images(), True), "not bool"),
    ("bool targets", lambda _: LRP(network()).attribute(images(), CLASSES > 0), "must be integers, not torch.bool"),
    ("targets of floats", lambda _: LRP(network()).attribute(images(), CLASSES.float()), "must be integers"),
    ("too many targets", lambda _: LRP(network()).attribute(images(), torch.zeros(3).long()), "per image, (2,)"),
    ("maps with channels", lambda _: scored(images(), CLASSES), "still have channels"),
    ("maps of another size", lambda _: scored(MAPS[:, :16], CLASSES), "resize the maps first"),
    ("too few maps", lambda _: scored(MAPS[:1], CLASSES), "the images need (2, 32, 32)"),
    ("a map with NaN", lambda _: scored(holding(NAN, MAPS), CLASSES), "map 0 of the batch contains NaN"),
    ("maps in a list", lambda _: scored(MAPS.tolist(), CLASSES), "maps must be a tensor or an array, not list"),  # type: ignore[arg-type]
    ("a complex map", lambda _: scored(MAPS + 0j, CLASSES), "maps must be real numbers, not torch.complex64"),
    ("an infinite map", lambda _: scored(holding(INFINITE, MAPS), CLASSES), "map 0 of the batch contains NaN"),
    ("bool targets of a metric", lambda _: scored(MAPS, CLASSES > 0), "must be integers, not torch.bool"),
    (
        "a class that does not exist",
        lambda _: scored(MAPS, CLASSES + 3),
        "target 4 is not one of the model's 4 classes",
    ),
    ("an unknown protocol", lambda _: scored(MAPS, CLASSES, protocol="fair"), "'fair' is unknown"),
    ("a step of 0", lambda _: scored(MAPS, CLASSES, step=0), "step must be"),
    ("a batch size of 0", lambda _: scored(MAPS, CLASSES, batch_size=0), "batch_size must be"),
    ("an option of another protocol", lambda _: scored(MAPS, CLASSES, protocol="levels", step=4, ties="index"), "ties"),
    ("a negative deviation", lambda _: scored(MAPS, CLASSES, std=(-1.0, 1.0, 1.0)), "std must be"),
    ("scores of nothing", lambda _: InsertionDeletion(network()).compute(), "call update before compute"),
    ("quantised NaN", lambda _: heat_quantization(holding(NAN, MAPS)), "contains NaN or infinity"),
    ("quantised lists", lambda _: heat_quantization([[[0.5]]]), "must be a tensor or an array, not list"),  # type: ignore[arg-type]
    ("an attribution in a list", lambda _: AttributionMap()(MAPS.tolist(), (32, 32)), "must be a tensor or an array"),  # type: ignore[arg-type]
    ("one level", lambda _: heat_quantization(MAPS, levels=1), "levels must be"),
    ("too many levels", lambda _: heat_quantization(MAPS, levels=10**12), "at most 65,536"),
    ("an unknown style", lambda _: heat_quantization(MAPS, style="round"), "style must be"),  # type: ignore[arg-type]
    ("quantised maps with channels", lambda _: heat_quantization(images()), "shape (N, H, W)"),
    ("an attribution that is NaN", lambda _: AttributionMap()(holding(NAN, images()), (32, 32)), "contains NaN"),
    ("an attribution of one axis", lambda _: AttributionMap()(torch.rand(4), (32, 32)), "(N, H, W) or (N, C, H, W)"),
    ("gini of NaN", lambda _: gini(holding(NAN, MAPS)), "NaN"),
    ("energy of NaN", lambda _: energy_inside(holding(NAN, MAPS), REGION), "NaN"),
    ("a region of another size", lambda _: energy_inside(MAPS, REGION[:, :16]), "(2, 16, 32)"),
    ("pointing at NaN", lambda _: pointing_game(holding(NAN, MAPS), REGION), "NaN"),
    ("a negative tolerance", lambda _: pointing_game(MAPS, REGION, tolerance=-1), "tolerance must be"),
    ("an infinite radius", lambda _: max_sensitivity(lambda x: x.sum(1), images(), radius=INFINITE), "radius must be"),
    ("Grad-CAM of no layer", lambda _: GradCAM(network(), target_layer="layer9"), "there is no 'layer9'"),
    ("Score-CAM of a linear layer", lambda _: ScoreCAM(network(), "fc").attribute(images()), "target_layer"),
    ("infinite noise", lambda _: SmoothGrad(network(), noise=INFINITE), "noise must be a finite number"),
    ("a seed that is null", lambda _: SmoothGrad(network(), seed=None), "seed must be"),  # type: ignore[arg-type]
    ("no masks", lambda _: RISE(network(), samples=0), "samples must be"),
    ("no steps", lambda _: IntegratedGradients(network(), steps=0), "steps must be"),
    ("no samples to choose", lambda _: class_balanced((), 4), "there are only 0 samples"),
    ("a style of choosing", lambda _: class_balanced((), 4, style="mixed"), "style must be"),  # type: ignore[arg-type]
    ("an image size of 0", lambda _: EvaluationTransform(32, 0, (0, 0, 0), (1, 1, 1)), "image_size must be"),
    ("a deviation of 0", lambda _: EvaluationTransform(32, 32, (0, 0, 0), (0, 1, 1)), "std must be"),
    ("no archive", lambda world: extract(world / "archives/nowhere.tar", world / "run", "top"), "cannot unpack"),
    ("an archive of text", lambda world: extract(world / "archives/text.tar", world / "run", "top"), "text.tar"),
    ("an empty archive", lambda world: extract(world / "archives/empty.tar", world / "run", "top"), "empty.tar"),
    ("a cut archive", lambda world: extract(world / "archives/cut.tgz", world / "run", "top"), "cut.tgz"),
    ("an archive that climbs", lambda world: extract(world / "archives/upward.tgz", world / "run", "top"), "leads out"),
    ("an absolute member", lambda world: extract(world / "archives/absolute.tgz", world / "run", "top"), "leads out"),
    ("a link in an archive", lambda world: extract(world / "archives/link.tgz", world / "run", "top"), "a link"),
    (
        "a sparse file in an archive",
        lambda world: extract(world / "archives/sparse.tar", world / "run", "top"),
        "sparse",
    ),
    ("a name that ends early", lambda world: extract(world / "archives/nul.tar", world / "run", "top"), "no name"),
    (
        "a pipe for an archive",
        lambda world: extract(world / "archives/fifo.tar", world / "run", "top"),
        "it is no file",
    ),
    ("another archive", lambda world: extract(world / "archives/good.tgz", world / "run", "CUB"), "no folder CUB/"),
    ("demo data elsewhere", lambda world: generate_demo(world / "photographs", 0, 1, 1), "holds no demo data"),
    ("no demo pictures", lambda world: generate_demo(world / "run", 0, 0, 1), "train_per_species must be"),
]


@pytest.mark.parametrize(("call", "words"), [pytest.param(call, words, id=name) for name, call, words in CALLS])
def test_a_call_that_cannot_be_answered(call: Callable[[Path], object], words: str, world: Path) -> None:
    before = content(world)
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        call(world)
    assert "\n" not in str(caught.value)
    assert content(world) == before
