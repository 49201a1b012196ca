"""A Lightning module whose validation generates, and cannot hang in it.

python examples/lightning_loop.py     a tiny random model, made on the spot; one of its examples never ends
"""

import logging
import tempfile
import warnings

import lightning
import torch
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel

from hangtight.training import guarded_generate

LIMIT = 0.5  # seconds; 60 in a real run
NEW_TOKENS = (20, 1_000, 20)  # the second example never ends
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")  # it would like more workers, and a logger


class Model(lightning.LightningModule):  # type: ignore[misc]
    """Learns random numbers by heart."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 2_000}
        self.model = GPT2LMHeadModel(GPT2Config(bos_token_id=None, eos_token_id=None, **sizes))

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.model(input_ids=batch, labels=batch).loss
        return loss

    def validation_step(self, batch: torch.Tensor, number: int) -> None:
        """The loss as ever, and beside it what the model says: whole, or as much as came in time."""
        prompt = batch[:1, :3]
        told = guarded_generate(
            self.model,
            prompt,
            limit=LIMIT,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=NEW_TOKENS[number],
        )
        print(f"example {number + 1}: {told.tokens} tokens, {told.verdict}")
        self.log("val_loss", self.model(input_ids=batch, labels=batch).loss)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


torch.set_num_threads(1)
lightning.seed_everything(0, verbose=False)
texts = list(torch.randint(64, (32, 16)))
with tempfile.TemporaryDirectory() as folder:
    trainer = lightning.Trainer(
        default_root_dir=folder,
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Model(), DataLoader(texts, batch_size=4), DataLoader(texts[:3], batch_size=1))
print(f"training is complete: val_loss {trainer.callback_metrics['val_loss']:.4f}")
