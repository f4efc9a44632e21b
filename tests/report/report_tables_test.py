"""Tests of a report's statistics, sentences, tables and figures."""

import math
import pathlib
import re
import sys
from unittest import mock

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from scipy import stats

from nas_keras import report
from nas_keras.report import curves
from nas_keras.report import run_files
from nas_keras.report import summary
from nas_keras.report import tables
from tests.report_testing import PERPLEXITY


def _trials(rewards, again=()):
    return tuple(
        run_files.TrialRecord(
            id=i,
            reward=reward,
            infeasible="NaN loss" if reward is None else None,
            fingerprint=f"f{i % 30}",
            elapsed_s=0.5,
            metrics={},
            same_as=i % 30 if i in again else None,
        )
        for i, reward in enumerate(rewards)
    )


def _retrained(cell, seed, perplexity, metrics=None, infeasible=None):
    return run_files.RetrainedRecord(
        cell=cell,
        origin="published" if cell == "lstm" else "controller",
        trial=None if cell == "lstm" else 7,
        spec=None,
        measure=PERPLEXITY,
        is_baseline=cell == "lstm",
        size={"units": 64, "parameters": 31_000},
        seed=seed,
        metrics=metrics
        or {
            "validation_perplexity": perplexity,
            "test_perplexity": perplexity + 0.5,
        },
        elapsed_s=12.0,
        infeasible=infeasible,
        reward=None,
    )


def _describe(
    retrained=(),
    trials=(0.5,),
    random_trials=(),
    derived=(),
    random_derived=(),
    again=(),
    evaluator=None,
):
    run = run_files.RunFiles(
        workdir=pathlib.Path("run"),
        config={"run": {"settings": {"evaluator": {"class": evaluator}}}},
        trials=_trials(trials, again),
        random_trials=_trials(random_trials),
        derived_trials=_trials(derived),
        random_derived_trials=_trials(random_derived),
        steps=(),
        shares=(),
        retrained=tuple(retrained),
        best_cell=None,
        notes=(),
    )
    return " ".join(summary.describe(run))


class StatisticsTest(parameterized.TestCase):
    def rows(self, *records):
        return report.summarise_retrained(records)

    def test_rows_hold_mean_and_sample_deviation_best_first(self):
        best, other = self.rows(
            _retrained("lstm", 0, 8.0),
            _retrained("found", 0, 7.0),
            _retrained("lstm", 1, 9.0),
            _retrained("found", 1, 7.5),
            _retrained("found", 2, 8.3),
        )
        values = [7.0, 7.5, 8.3]
        self.assertEqual((best.cell, other.cell), ("found", "lstm"))
        self.assertEqual((best.num_seeds, other.num_seeds), (3, 2))
        self.assertAlmostEqual(best.validation.mean, np.mean(values))
        self.assertAlmostEqual(best.validation.sd, np.std(values, ddof=1))
        self.assertAlmostEqual(other.test.mean, 9.0)
        self.assertEmpty(best.further)

    def test_failed_and_non_finite_seeds_are_left_out(self):
        worse, none = self.rows(
            _retrained("none", 0, 1.0, infeasible="out of memory"),
            _retrained("worse", 0, math.nan),
            _retrained("worse", 1, 9.0),
        )
        self.assertEqual(worse.validation.mean, 9.0)
        self.assertTrue(math.isnan(worse.validation.sd))
        self.assertEqual((none.num_seeds, none.num_infeasible), (0, 1))
        self.assertTrue(math.isnan(none.validation.mean))

    def test_a_seed_trained_twice_counts_once(self):
        (row,) = self.rows(
            _retrained("found", 0, 7.0), _retrained("found", 0, 8.0)
        )
        self.assertEqual(row.num_seeds, 1)
        self.assertEqual(row.validation.mean, 8.0)

    def test_table_is_aligned_ascii(self):
        bits = {
            "validation_perplexity": 8.0,
            "validation_bits_per_char": 2.5,
            "test_bits_per_char": 3.0,
            "train_loss_nats": 1.0,
            "validation_loss_nats": 1.0,
            "test_loss_nats": 1.0,
        }
        rows = self.rows(
            _retrained("found", 0, 7.0),
            _retrained("found", 1, 7.5),
            _retrained("lstm", 0, 8.0, metrics=bits),
        )
        table = report.format_table(rows)
        head, rule, first, second = table.split("\n")
        self.assertTrue(table.isascii())
        self.assertRegex(head, "^cell +origin +units +parameters +seeds ")
        self.assertRegex(head, "test perplexity  validation bits per char  ")
        self.assertRegex(head, "test bits per char  seconds$")
        self.assertNotIn("loss", head)
        self.assertRegex(rule, "^[- ]+$")
        self.assertRegex(first, r"^found +controller +64 +31,000 +2 ")
        self.assertIn("7.250 +- 0.354", first)
        self.assertRegex(
            second, r"^lstm .* 8\.000 +n/a +2\.500 +3\.000 +12\.0$"
        )
        self.assertLen({len(line) for line in (head, rule, first)}, 1)

    def test_empty_table_says_so(self):
        self.assertEqual(report.format_table([]), "Nothing was retrained.")

    def test_table_shows_no_terminal_escapes(self):
        table = report.format_table(self.rows(_retrained("a\x1b[2Jb", 0, 7.0)))
        self.assertNotIn("\x1b", table)

    @parameterized.parameters(
        (5.12345, "5.123"),
        (123.456, "123.5"),
        (9.99996, "10.00"),
        (123456.0, "123,500"),
        (0.0123456, "0.01235"),
        (1e-7, "1.000e-07"),
        (0.0, "0.000"),
        (math.nan, "n/a"),
        (math.inf, "inf"),
    )
    def test_numbers_have_four_significant_digits(self, value, text):
        self.assertEqual(tables.format_number(value), text)

    def test_small_deviation_is_not_shown_as_zero(self):
        value = tables.Spread(mean=5.0, sd=0.00004, num=2)
        self.assertEqual(str(value), "5.000 +- 4e-05")

    def test_trial_summary(self):
        rewards = [0.2 + 0.01 * i for i in range(40)]
        rewards[4] = None
        figures = summary.summarise_trials(_trials(rewards))
        self.assertEqual(figures.num_trials, 40)
        self.assertEqual(figures.num_feasible, 39)
        self.assertEqual(figures.num_distinct, 30)
        self.assertEqual(figures.num_reused, 0)
        feasible = [reward for reward in rewards if reward is not None]
        self.assertAlmostEqual(figures.mean_reward, np.mean(feasible))
        self.assertAlmostEqual(figures.best_reward, 0.59)
        self.assertAlmostEqual(figures.elapsed_s, 20.0)
        first = [0.2, 0.21, 0.22, 0.23, 0.25, 0.26, 0.27]
        self.assertAlmostEqual(figures.first_fifth.mean, np.mean(first))
        self.assertAlmostEqual(figures.last_fifth.mean, 0.555)

    def test_reasons_are_counted_by_their_first_line(self):
        reasons = ["NaN\nat 3", None, "NaN\nat 4", "  ", "memory"]
        self.assertEqual(
            summary.count_reasons(reasons),
            [("NaN", 2), ("no reason given", 1), ("memory", 1)],
        )

    def test_difference_that_chance_may_make_is_not_called_significant(self):
        text = _describe(
            [
                _retrained("lstm", 0, 8.0),
                _retrained("lstm", 1, 8.4),
                _retrained("found", 0, 7.9),
                _retrained("found", 1, 8.3),
            ]
        )
        self.assertIn("found (controller) has the lowest", text)
        self.assertIn("test perplexity is 0.100 lower", text)
        # 4.303 * 0.2828, of two degrees of freedom, about -0.1.
        self.assertIn(
            "95 % confidence interval of the difference is -1.32 to 1.12"
            " (Welch's t, 2 and 2 seeds): it is not significant",
            text,
        )

    def test_difference_beyond_chance_is_called_significant(self):
        text = _describe(
            [
                _retrained("lstm", 0, 8.0),
                _retrained("lstm", 1, 8.1),
                _retrained("found", 0, 9.0),
                _retrained("found", 1, 9.1),
            ]
        )
        self.assertIn("lstm (published) has the lowest", text)
        self.assertIn("test perplexity is 1.00 higher", text)
        # 4.303 * 0.0707 about 1.
        self.assertIn("is 0.696 to 1.30 (Welch's", text)
        self.assertIn("it is significant at the 5 % level", text)

    def test_one_seed_gives_no_interval(self):
        text = _describe(
            [_retrained("lstm", 0, 8.0), _retrained("found", 0, 7.0)]
        )
        self.assertIn("Two seeds of each are needed to judge", text)

    def test_the_last_fifth_is_judged_by_its_interval(self):
        ours, theirs = [0.5, 0.7] * 25, [0.4, 0.6] * 25
        text = _describe(trials=ours, random_trials=theirs)
        result = stats.ttest_ind(ours[40:], theirs[40:], equal_var=False)
        interval = result.confidence_interval()
        self.assertIn(
            "Mean of the controller's last fifth beats that of random search:"
            " 0.6000 against 0.5000. The 95 % confidence interval of the"
            f" difference is {interval.low:.6f} to {interval.high:.3f} (Welch's"
            " t, 10 and 10 children): it is significant",
            text,
        )
        text = _describe(trials=[0.5] * 40, random_trials=[0.5] * 40)
        self.assertIn("last fifth does not beat", text)
        self.assertIn("children of each do not differ", text)

    def test_different_budgets_are_said(self):
        text = _describe(trials=[0.5] * 40, random_trials=[0.9] * 5)
        self.assertIn("The budgets differ (40 against 5 children)", text)
        self.assertIn(
            "Best child of the controller does not beat that of random"
            " search: 0.5000 against 0.9000.",
            text,
        )

    def test_architectures_met_again_are_said(self):
        text = _describe(trials=[0.5] * 40, again=range(30, 40))
        self.assertIn(
            "The controller evaluated 40 children: 40 feasible, 0 infeasible,"
            " 30 distinct architectures; 10 were met again and not trained"
            " again. Best",
            text,
        )
        self.assertIn(
            "; 1 was met again and not trained again. Best",
            _describe(trials=[0.5] * 40, again=[39]),
        )
        # Older journals: met again perhaps, but trained again.
        self.assertNotIn("met again", _describe(trials=[0.5] * 40))

    def test_sampled_architectures_are_said(self):
        text = _describe(
            derived=[0.2, 0.7, None, 0.3],
            random_trials=[0.5],
            random_derived=[0.25],
        )
        self.assertIn(
            "From the trained controller 4 architectures were sampled and"
            " scored on all validation data with shared weights: 3"
            " feasible, 1 infeasible, 4 distinct architectures. Best reward"
            " 0.7000, mean reward 0.4000.",
            text,
        )
        self.assertIn("From random search 1 architecture was sampled", text)
        self.assertNotIn("sampled", _describe())

    def test_children_with_shared_weights_are_not_called_trained(self):
        text = _describe(
            trials=[0.5] * 40,
            random_trials=[0.4] * 40,
            derived=[0.5],
            evaluator="Shared",
            again=[31],
        )
        self.assertIn(
            "The controller sampled 40 children and scored them with shared"
            " weights: 40 feasible",
            text,
        )
        self.assertIn("Random search sampled 40 children and scored", text)
        self.assertIn("met again and not scored again", text)
        self.assertIn("A reward by shared weights is an estimate", text)
        self.assertNotRegex(text, "trained (?!controller)")
        for evaluator in ("FromScratch", None):
            text = _describe(evaluator=evaluator)
            self.assertIn("The controller evaluated 1 children", text)
            self.assertNotIn("shared", text)


class CurvesTest(parameterized.TestCase):
    rewards = (math.nan, 3.0, 1.0, math.nan, 5.0, 4.0)

    def test_running_mean_is_of_the_feasible_in_the_window(self):
        for window in (1, 2, 6):
            want = [
                np.nan
                if i + 1 < window
                or np.all(np.isnan(self.rewards[i + 1 - window : i + 1]))
                else np.nanmean(self.rewards[i + 1 - window : i + 1])
                for i in range(len(self.rewards))
            ]
            np.testing.assert_allclose(
                curves.running_mean(self.rewards, window), want
            )

    def test_best_so_far_ignores_infeasible(self):
        np.testing.assert_array_equal(
            curves.best_so_far(self.rewards), [np.nan, 3, 3, 3, 5, 5]
        )

    def test_top_mean_so_far_waits_for_enough_children(self):
        nan = np.nan
        np.testing.assert_allclose(
            curves.top_mean_so_far(self.rewards, 2), [nan, nan, 2, 2, 4, 4.5]
        )

    def test_colours_are_variables_of_the_page(self):
        svg = curves.reward_curve({"controller": [1.0, 2.0] * 9}).svg
        self.assertIn("var(--controller)", svg)
        self.assertIn("var(--ink)", svg)
        self.assertEmpty(set(re.findall("#[0-9a-f]{6}", svg)))

    def test_outliers_are_cut_off_and_counted(self):
        curve = curves.reward_curve(
            {"controller": [*np.linspace(-2, -1, 50), -400.0]}
        )
        self.assertIn("1 child lies below the lower edge", curve.caption)

    @parameterized.parameters(
        ([math.nan],), ([1.0],), ([0.0, 0.0],), ([1e300, -1e300],)
    )
    def test_degenerate_rewards_are_drawn(self, rewards):
        for curve in (curves.reward_curve, curves.top_curve):
            self.assertIn("</svg>", curve({"controller": rewards}).svg)

    def test_missing_matplotlib_names_the_extra(self):
        with (
            mock.patch.dict(sys.modules, {"matplotlib": None}),
            self.assertRaisesRegex(
                ImportError, r"pip install 'nas_keras\[report\]'"
            ),
        ):
            curves.top_curve({"controller": [1.0]})


if __name__ == "__main__":
    absltest.main()
